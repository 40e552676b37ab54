import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCxvError } from '../base/index.ts'
import { levelFailure } from './level-errors.ts'

const coded = (code: string, message: string, cause?: Error): Error =>
  Object.assign(new Error(message, { cause }), { code })
/** As `level` throws what LevelDB said on opening. */
const opening = (code: string, says: string): Error =>
  coded('LEVEL_DATABASE_NOT_OPEN', 'Database failed to open', coded(code, says))

const meaning = (error: Error): string => {
  const found = levelFailure(error, '/r/.cxv/index')
  return isCxvError(found)
    ? `${found.code} ${String(found.data['system'] ?? '')}`.trim()
    : `${found}`
}

test('what LevelDB says is told apart: only damage is damage', () => {
  const cases: readonly (readonly [Error, string])[] = [
    [opening('LEVEL_LOCKED', 'IO error: lock /i/LOCK: Resource temporarily unavailable'), 'locked'],
    [opening('LEVEL_CORRUPTION', 'Corruption: 1 missing files; e.g.: /i/000005.ldb'), 'damaged'],
    [coded('LEVEL_CORRUPTION', 'Corruption: not an sstable (bad magic number)'), 'damaged'],
    [opening('LEVEL_IO_ERROR', 'IO error: /i/000005.ldb: No such file or directory'), 'damaged'],
    [opening('LEVEL_IO_ERROR', 'IO error: /i/000007.log: No space left on device'), 'NO_SPACE'],
    [coded('LEVEL_IO_ERROR', 'IO error: /i/000007.log: Disk quota exceeded'), 'NO_SPACE'],
    [opening('LEVEL_IO_ERROR', 'IO error: /i/LOCK: Permission denied'), 'FILE_SYSTEM EACCES'],
    [opening('LEVEL_IO_ERROR', 'IO error: /i/LOCK: Read-only file system'), 'FILE_SYSTEM EROFS'],
    [opening('LEVEL_IO_ERROR', 'IO error: /i/1.ldb: Too many open files'), 'FILE_SYSTEM EMFILE'],
    [opening('LEVEL_IO_ERROR', 'IO error: /i/1.ldb: Input/output error'), 'FILE_SYSTEM EIO'],
    [coded('LEVEL_DATABASE_NOT_OPEN', 'Database is not open'), 'undefined'],
    [new Error('corruption of another kind'), 'undefined'],
  ]
  for (const [error, expected] of cases) {
    assert.equal(meaning(error), expected, String((error.cause as Error | undefined) ?? error))
  }
})
