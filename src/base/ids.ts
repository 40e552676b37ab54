/** A string that names one kind of thing, so that ids of different kinds cannot be mixed. */
type Brand<B extends string> = string & { readonly __brand: B }

/** SHA-256 of a whole file's plain bytes (what `sha256sum` prints): 64 lower-case hex digits. */
export type ContentId = Brand<'ContentId'>
/** SHA-256 of a pack file's own bytes: 64 lower-case hex digits. */
export type PackId = Brand<'PackId'>
/** A git commit id (SHA-1): 40 lower-case hex digits. */
export type CommitId = Brand<'CommitId'>
/** A run's id: `r` and 11 characters of `0-9a-z`, sortable by start time. */
export type RunId = Brand<'RunId'>
/** SHA-256 of an encoded sample list: 64 lower-case hex digits. */
export type SampleListId = Brand<'SampleListId'>

const HEX_64 = /^[0-9a-f]{64}$/
const HEX_40 = /^[0-9a-f]{40}$/

export const isSha256 = (text: string): boolean => HEX_64.test(text)
export const isCommitId = (text: string): text is CommitId => HEX_40.test(text)

/** @throws TypeError when the text is not 64 lower-case hex digits */
function sha256Id(text: string): string {
  if (!HEX_64.test(text)) throw new TypeError(`not a SHA-256 id: ${text.slice(0, 80)}`)
  return text
}

export const contentId = (text: string): ContentId => sha256Id(text) as ContentId
export const packId = (text: string): PackId => sha256Id(text) as PackId
export const sampleListId = (text: string): SampleListId => sha256Id(text) as SampleListId

/** @throws TypeError when the text is not 40 lower-case hex digits */
export function commitId(text: string): CommitId {
  if (!isCommitId(text)) throw new TypeError(`not a commit id: ${text.slice(0, 80)}`)
  return text
}

const RUN_ID = /^r[0-9a-z]{11}$/
export const isRunId = (text: string): text is RunId => RUN_ID.test(text)

/** @throws TypeError when the text is not a run id */
export function runId(text: string): RunId {
  if (!isRunId(text)) throw new TypeError(`not a run id: ${text.slice(0, 80)}`)
  return text
}
