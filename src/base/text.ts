/**
 * Text from outside (paths, URLs, server messages) made safe to print: control characters become
 * `?`, so no terminal escape passes; passwords and tokens in URLs become `***`. A plain user name stays.
 */
export function printable(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '?')
    .replace(
      /([a-z][a-z0-9+.-]*:\/\/)([^/@:\s]*)(:[^/\s]*)?@/gi,
      (_all, scheme: string, user: string, password?: string) =>
        `${scheme}${user.length > LONGEST_USER_NAME ? '***' : user}${password === undefined ? '' : ':***'}@`,
    )
}

/** Longer words before the `@` of a URL are tokens. */
const LONGEST_USER_NAME = 20

/** The same for what must stay on its line, such as a path: it may hold newlines. */
export const printableLine = (text: string): string => printable(text).replace(/[\t\n]/g, '?')

/** One argument as a POSIX shell takes it, for commands that a person pastes. */
export const shellQuoted = (text: string): string =>
  /["$`\\!]/.test(text) ? `'${text.replaceAll("'", `'\\''`)}'` : `"${text}"`

/** 1,234,567 */
export const formatCount = (n: number): string => n.toLocaleString('en-US')

/** `1 file`, `2 files` with thousands separated. */
export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${formatCount(n)} ${n === 1 ? one : many}`

/** The first five, and whether there are more: `a, b, ...` */
export const firstOf = (names: readonly string[]): string =>
  `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}`

/** Bytes in binary units: `412 B`, `1.5 KiB`, `45.2 GiB`. */
export function formatBytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = n
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${n} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

/** `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const s = Math.round(ms / 1000)
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`
}

/**
 * The candidate nearest to `word` by edit distance (Damerau-Levenshtein), if it is near at all: one edit
 * in up to four letters, two beyond, and never more than a third of the longer word. (Of short words
 * nearly all are two edits from each other: gc from rm.)
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of candidates) {
    const d = editDistance(word.toLowerCase(), candidate.toLowerCase())
    const longer = Math.max(word.length, candidate.length)
    const most = Math.min(word.length <= 4 ? 1 : 2, Math.floor(longer / 3))
    if (d <= most && d < bestDistance) {
      best = candidate
      bestDistance = d
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let d = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        d = Math.min(d, before[j - 2]! + 1)
      }
      row.push(d)
    }
    before = previous
    previous = row
  }
  return previous[b.length]!
}
