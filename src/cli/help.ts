import type { VerbEntry } from '../commands/index.ts'

const GROUPS: readonly (readonly [VerbEntry['group'], string])[] = [
  ['start', 'Start a repository'],
  ['work', 'Work on the data'],
  ['history', 'History'],
  ['share', 'Share'],
  ['ask', 'Tables and questions'],
  ['train', 'Train, and see which data made which model'],
  ['machine', 'This machine'],
]

/** What `cxv --help` prints. */
export function topHelp(verbs: readonly VerbEntry[]): string {
  const width = Math.max(...verbs.map((v) => v.name.length)) + 2
  const lines = [
    'cxv: versions heavy medical image sets and trains on them',
    '',
    'usage: cxv <verb> [options]',
  ]
  for (const [group, title] of GROUPS) {
    const members = verbs.filter((v) => v.group === group)
    if (members.length === 0) continue
    lines.push('', title, ...members.map((v) => `  ${v.name.padEnd(width)}${v.summary}`))
  }
  lines.push(
    '',
    'Everywhere: --json, --quiet, -C DIR, --help. `cxv <verb> --help` explains a verb.',
    'Exit codes: 0 ok, 1 bug, 2 usage, 3 partly done, 10 no repository, 11 locked, 12 access,',
    '13 conflict, 14 damaged or missing data, 15 network, 16 not found, 17 refused to protect data,',
    '18 disk, 130 interrupted.',
  )
  return lines.join('\n')
}

/** What `cxv table` prints: the verbs that begin with that word. */
export function familyHelp(word: string, verbs: readonly VerbEntry[]): string {
  const members = verbs.filter((v) => v.name.startsWith(`${word} `))
  const width = Math.max(...members.map((v) => v.name.length)) + 2
  return [
    `usage: cxv ${word} <verb> [options]`,
    '',
    ...members.map((v) => `  ${v.name.padEnd(width)}${v.summary}`),
  ].join('\n')
}
