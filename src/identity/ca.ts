/** The cluster's certificate authority: ECDSA P-256, certificates as RFC 5280 and Kubernetes want them. */
import 'reflect-metadata';
import { X509Certificate as NodeCertificate, createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { HeddleError } from '../lib/errors.ts';
import { tryParseAddress } from '../lib/ip.ts';

/** PEM texts. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface Subject {
  readonly commonName: string;
  /** Kubernetes reads groups from here. */
  readonly organizations?: readonly string[];
}

export interface IssueRequest extends Subject {
  readonly usage: 'server' | 'client';
  /** Host names and addresses a server answers to. */
  readonly names?: readonly string[];
  /** Default 365. */
  readonly days?: number;
}

export interface CertificateAuthority {
  readonly pair: KeyPair;
  issue(request: IssueRequest): Promise<KeyPair>;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const day = 86_400_000;
/** Clocks of machines that share a certificate may differ by this much. */
const skew = 5 * 60_000;
const CA_DAYS = 3650;
export const LEAF_DAYS = 365;

export async function createAuthority(commonName: string, now: number): Promise<CertificateAuthority> {
  const keys = await generateKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: distinguishedName({ commonName }),
    notBefore: new Date(now - skew),
    notAfter: new Date(now + CA_DAYS * day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return loadAuthority({ cert: cert.toString('pem'), key: await exportKey(keys.privateKey) }, () => now);
}

/** @throws HeddleError `BadKeyFile` when certificate and key do not belong together. */
export async function loadAuthority(pair: KeyPair, now: () => number): Promise<CertificateAuthority> {
  if (!isPair(pair))
    throw new HeddleError('BadKeyFile', "the certificate authority's certificate and key do not match", {
      hint: 'remove both, or the whole cluster with "heddle down"; the next "heddle up" makes new ones',
    });
  const issuer = new x509.X509Certificate(pair.cert);
  const signingKey = await importKey(pair.key);
  return {
    pair,
    async issue(request) {
      const keys = await generateKeys();
      const start = now();
      const cert = await x509.X509CertificateGenerator.create({
        serialNumber: serial(),
        subject: distinguishedName(request),
        issuer: issuer.subject,
        notBefore: new Date(start - skew),
        notAfter: new Date(Math.min(start + (request.days ?? LEAF_DAYS) * day, issuer.notAfter.getTime())),
        signingAlgorithm: algorithm,
        publicKey: keys.publicKey,
        signingKey,
        extensions: await leafExtensions(request, keys.publicKey, issuer),
      });
      return { cert: cert.toString('pem'), key: await exportKey(keys.privateKey) };
    },
  };
}

async function leafExtensions(
  request: IssueRequest,
  publicKey: CryptoKey,
  issuer: x509.X509Certificate,
): Promise<x509.Extension[]> {
  const purpose =
    request.usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
  const names = request.names ?? [];
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([purpose]),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names.map(alternativeName))]),
  ];
}

const alternativeName = (name: string): x509.JsonGeneralName => ({
  type: tryParseAddress(name) ? 'ip' : 'dns',
  value: name,
});

const distinguishedName = (subject: Subject): x509.JsonName => [
  ...(subject.organizations ?? []).map((organization) => ({ O: [organization] })),
  { CN: [subject.commonName] },
];

/** 126 random bits, positive and not zero (RFC 5280, section 4.1.2.2). */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

const generateKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);

async function exportKey(key: CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

function importKey(pem: string): Promise<CryptoKey> {
  const [der] = x509.PemConverter.decode(pem);
  if (!der) throw new HeddleError('BadKeyFile', "the certificate authority's key is not a PEM file");
  return webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
}

function isPair(pair: KeyPair): boolean {
  try {
    return new NodeCertificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key));
  } catch {
    return false;
  }
}

/** Whether `pair` still serves `request`: issued by `ca`, same subject and names, valid for `spareDays` more. */
export function isCurrent(
  pair: KeyPair,
  request: IssueRequest,
  ca: KeyPair,
  now: number,
  spareDays: number,
): boolean {
  if (!isPair(pair)) return false;
  const [leaf, issuer] = [new NodeCertificate(pair.cert), new NodeCertificate(ca.cert)];
  const wanted = [...(request.organizations ?? []).map((o) => `O=${o}`), `CN=${request.commonName}`];
  return (
    leaf.verify(issuer.publicKey) &&
    leaf.validToDate.getTime() > now + spareDays * day &&
    leaf.validFromDate.getTime() <= now &&
    leaf.subject === wanted.join('\n') &&
    sameNames(leaf, request.names ?? [])
  );
}

function sameNames(leaf: NodeCertificate, names: readonly string[]): boolean {
  const has = (name: string) =>
    tryParseAddress(name) ? leaf.checkIP(name) !== undefined : leaf.checkHost(name) !== undefined;
  const count = leaf.subjectAltName === undefined ? 0 : leaf.subjectAltName.split(', ').length;
  return count === names.length && names.every(has);
}
