/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Counters by number: a map of them, and the function that counts one. Each CPU has its own; who reads adds them up. */
#ifndef HEDDLE_COUNTS_H
#define HEDDLE_COUNTS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#define COUNTS(map, numbers, count_one)                                  \
	struct {                                                         \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                 \
		__uint(max_entries, numbers);                            \
		__type(key, __u32);                                      \
		__type(value, __u64);                                    \
	} map SEC(".maps");                                              \
                                                                         \
	static __always_inline void count_one(__u32 number)              \
	{                                                                \
		__u64 *count = bpf_map_lookup_elem(&map, &number);       \
                                                                         \
		if (count)                                               \
			(*count)++;                                      \
	}

#endif
