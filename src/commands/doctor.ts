import {
  engineFindings,
  type Finding,
  machineFindings,
  programFindings,
  repositoryFindings,
} from './doctor-facts.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'doctor',
    summary: 'Show what this machine has and lacks, and the command that mends it',
    description:
      'Looks at Node, disk, programs, training engines, the GPU and the repository you are in. "ok" works, "could" is not needed but would help, "lacks" stops something from working; for the last two the line ends with the command that mends it. Changes nothing. Exit status 3 if something is lacking.',
    examples: [
      ['cxv doctor', 'a quick look'],
      ['cxv doctor --train', 'also train a few steps on each engine that was set up'],
    ],
    options: {
      train: { type: 'boolean', describe: 'train a few steps on each engine that was set up' },
    },
    async run(ctx, args): Promise<{ readonly findings: readonly Finding[] }> {
      return {
        findings: [
          ...machineFindings(ctx),
          ...(await programFindings(ctx)),
          ...(await engineFindings(ctx, args.train === true)),
          ...repositoryFindings(ctx),
        ],
      }
    },
    *text({ findings }, style) {
      let group = ''
      for (const { name, state, detail, mend, ...finding } of findings) {
        if (finding.group !== group) yield style.bold(finding.group)
        group = finding.group
        const colour = { ok: style.green, could: style.yellow, lacks: style.red }[state]
        yield `  ${colour(state.padEnd(5))}  ${name.padEnd(14)}  ${detail}`
        if (mend !== undefined) yield style.dim(`                         ${mend}`)
      }
    },
    exit: ({ findings }) => (findings.some(({ state }) => state === 'lacks') ? 3 : 0),
  }),
)
