import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCxvError } from '../base/index.ts'
import { parseRemoteUrl, quoteForShell, splitWords } from './index.ts'

void test('paths and file URLs are folders', () => {
  assert.deepEqual(parseRemoteUrl('../store', '/a/b'), {
    kind: 'file',
    url: 'file:///a/store',
    path: '/a/store',
  })
  assert.equal(parseRemoteUrl('/srv/x y', '/').url, 'file:///srv/x y')
  const address = parseRemoteUrl('file:///srv/x%20y', '/')
  assert.equal(address.path, '/srv/x y')
  assert.equal(parseRemoteUrl('./host:x', '/a').path, '/a/host:x')
})

void test('both forms of ssh addresses', () => {
  const table: [string, string, number | undefined, string][] = [
    ['ssh://gpu/srv/xrays', 'gpu', undefined, '/srv/xrays'],
    ['ssh://anna@gpu-1.example.org:2222/srv/x', 'anna@gpu-1.example.org', 2222, '/srv/x'],
    ['ssh://[::1]:22/srv', '::1', 22, '/srv'],
    ['ssh://gpu/~/xrays', 'gpu', undefined, 'xrays'],
    ['gpu:xrays', 'gpu', undefined, 'xrays'],
    ['anna@gpu:/srv/x', 'anna@gpu', undefined, '/srv/x'],
    ['gpu:~/x', 'gpu', undefined, 'x'],
  ]
  for (const [url, destination, port, path] of table) {
    const address = parseRemoteUrl(url, '/')
    assert.ok(address.kind === 'ssh', url)
    assert.deepEqual(
      { destination: address.destination, port: address.port, path: address.path },
      { destination, port, path },
    )
  }
})

void test('what could become an option or a secret is refused', () => {
  const bad = [
    '',
    'ssh://-oProxyCommand=touch/x',
    'ssh://-oProxyCommand=x@h/x',
    '-oProxyCommand=x:y',
    'ssh://host',
    'ssh://host/',
    'ssh://host:0/x',
    'ssh://host:99999/x',
    'ssh://anna:secret@host/x',
    'ssh://h o/x',
    'host:-x',
    'host:',
    'host:~root/x',
    's3://bucket/x',
    'https://host/x',
    'a\nb',
  ]
  for (const url of bad) {
    assert.throws(
      () => parseRemoteUrl(url, '/'),
      (e) => isCxvError(e, 'REMOTE_INVALID'),
      url,
    )
  }
})

void test('words are quoted for a shell, and parted as one does', () => {
  assert.equal(quoteForShell("it's; $HOME"), `'it'\\''s; $HOME'`)
  assert.deepEqual(splitWords(`ssh -i '/a b/c' -o "X \\"y\\"" a\\ b`), [
    'ssh',
    '-i',
    '/a b/c',
    '-o',
    'X "y"',
    'a b',
  ])
})
