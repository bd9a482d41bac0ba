// The codec against bytes that were recorded from Pomelo's own clients and servers: wire/golden.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import {
  decodeMessage,
  encodeMessage,
  encodePackage,
  MessageType,
  PackageReader,
  PackageType,
} from '../pomelo-client.js';

const vectors = JSON.parse(readFileSync(new URL('../../wire/golden/vectors.json', import.meta.url), 'utf8'));
const TYPES = { request: MessageType.REQUEST, notify: MessageType.NOTIFY, response: MessageType.RESPONSE, push: MessageType.PUSH };

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (some) => Buffer.from(some).toString('hex');
const plain = (packages) => packages.map(({ type, body }) => ({ type, body_hex: hex(body) }));

function ofKind(kind) {
  const found = vectors.filter((vector) => vector.kind === kind);
  assert.ok(found.length > 0, `no vectors of the kind ${kind}`);
  return found;
}

test('packages are written and read as Pomelo does', () => {
  for (const { name, type, hex: expected } of ofKind('package')) {
    const body = bytes(expected).subarray(4);
    assert.equal(hex(encodePackage(type, body)), expected, name);
    assert.deepEqual(plain(new PackageReader().read(bytes(expected))), [{ type, body_hex: hex(body) }], name);
  }
});

test('lengths have three bytes, and no more', () => {
  for (const { name, type, body_len, hex: head } of ofKind('package-header')) {
    const body = new Uint8Array(body_len);
    if (name === 'pkg-data-len-overflow') {
      assert.throws(() => encodePackage(type, body), { code: 'too-long' });
    } else {
      assert.equal(hex(encodePackage(type, body).subarray(0, 4)), head, name);
      const [read] = new PackageReader().read(encodePackage(type, body));
      assert.equal(read.body.length, body_len, name);
    }
  }
});

test('a frame has several packages', () => {
  for (const { name, packages, hex: stream } of ofKind('stream')) {
    assert.deepEqual(plain(new PackageReader().read(bytes(stream))), packages, name);
  }
});

test('packages are put together, wherever they are cut', () => {
  for (const { name, segments, hex: whole } of ofKind('split')) {
    const reader = new PackageReader();
    assert.equal(segments.flatMap((segment) => reader.read(bytes(segment))).length, 1, name);
    for (let at = 0; at <= whole.length / 2; at += 1) {
      const other = new PackageReader();
      const read = [...other.read(bytes(whole).subarray(0, at)), ...other.read(bytes(whole).subarray(at))];
      assert.deepEqual(plain(read), [{ type: PackageType.DATA, body_hex: whole.slice(8) }], `${name} at ${at}`);
    }
  }
});

test('messages are written and read as Pomelo does', () => {
  for (const { name, type, id, route, gzip, body_hex, package_hex } of ofKind('message')) {
    const [{ body }] = new PackageReader().read(bytes(package_hex));
    const read = decodeMessage(body);
    const expected = { type: TYPES[type], id: id ?? 0, route: route ?? '', body: body_hex };
    assert.deepEqual({ ...read, body: hex(read.body) }, expected, name);
    // Its bit is never written.
    if (!gzip) {
      assert.equal(hex(encodePackage(PackageType.DATA, encodeMessage(read))), package_hex, name);
    }
  }
});

test('ids have 32 bits', () => {
  for (const id of [1, 0x7f, 0x80, 0x7fffffff, 0x80000000, 0xffffffff]) {
    assert.equal(decodeMessage(encodeMessage({ type: MessageType.RESPONSE, id })).id, id);
  }
});

test('what is no Pomelo is an error of the protocol', () => {
  const protocol = { code: 'protocol' };
  for (const garbage of ['00000000', '06000000', '48545450']) {
    assert.throws(() => new PackageReader().read(bytes(garbage)), protocol, garbage);
  }
  for (const garbage of ['', '04', '0480', '04ffffffff1f', '04808080808001', '08', '06', '0605', '0703']) {
    assert.throws(() => decodeMessage(bytes(garbage)), protocol, garbage);
  }
  assert.throws(() => encodeMessage({ type: MessageType.NOTIFY, route: 'r'.repeat(256) }), { code: 'too-long' });
});
