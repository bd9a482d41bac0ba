// The package: what npm would publish, and declarations of all that the module exports.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import * as client from '../pomelo-client.js';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const read = (name) => readFileSync(path(name), 'utf8');

test('the declarations are those of the module', () => {
  const declared = [...read('../pomelo-client.d.ts').matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.toSorted(), Object.keys(client).toSorted());
});

test('a program with types is checked against the declarations', () => {
  const tsc = path('../../target/typescript/node_modules/typescript/bin/tsc');
  assert.ok(existsSync(tsc), 'typescript is not there: run `make tools`');
  const flags = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom'];
  execFileSync(process.execPath, [tsc, ...flags, path('../checks/types.mts')], { stdio: 'inherit' });
});

test('the package has what it needs, and nothing else', () => {
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--offline', '--ignore-scripts'], { cwd: path('..'), encoding: 'utf8' }));
  const files = packed.files.map((file) => file.path).toSorted();
  assert.deepEqual(files, ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'pomelo-client.d.ts', 'pomelo-client.js']);
  for (const license of ['LICENSE-MIT', 'LICENSE-APACHE']) {
    assert.equal(read(`../${license}`), read(`../../${license}`));
  }
});

test('the module needs nothing but what browsers have', () => {
  const source = read('../pomelo-client.js');
  assert.doesNotMatch(source, /^import\b|\bimport\(|\brequire\(|\bprocess\.|\bBuffer\b|innerHTML/m);
});
