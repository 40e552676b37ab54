import type { AnyCommand } from './types.ts'

export interface VerbEntry {
  /** `add`, or `table add`. */
  readonly name: string
  readonly group: 'start' | 'work' | 'history' | 'share' | 'ask' | 'train' | 'machine'
  /** One line for `cxv --help`; the same as the command's own summary. */
  readonly summary: string
  readonly load: () => Promise<AnyCommand>
}

/** Every verb there is, in the order of `cxv --help`. A verb's file is loaded only when it is called. */
export const VERBS: readonly VerbEntry[] = [
  {
    name: 'init',
    group: 'start',
    summary: 'Make an empty repository in this folder',
    load: () => import('./init.ts').then((m) => m.command),
  },
  {
    name: 'clone',
    group: 'start',
    summary: 'Make a repository of a remote',
    load: () => import('./clone.ts').then((m) => m.command),
  },
  {
    name: 'add',
    group: 'work',
    summary: 'Store files and stage them for the next commit',
    load: () => import('./add.ts').then((m) => m.command),
  },
  {
    name: 'rm',
    group: 'work',
    summary: 'Stop tracking files, and delete them from the work tree',
    load: () => import('./rm.ts').then((m) => m.command),
  },
  {
    name: 'status',
    group: 'work',
    summary: 'Show what is staged, changed and untracked',
    load: () => import('./status.ts').then((m) => m.command),
  },
  {
    name: 'ls',
    group: 'work',
    summary: 'List tracked files of this or another version',
    load: () => import('./ls.ts').then((m) => m.command),
  },
  {
    name: 'cat',
    group: 'work',
    summary: 'Write a tracked file to stdout, of this or another version',
    load: () => import('./cat.ts').then((m) => m.command),
  },
  {
    name: 'restore',
    group: 'work',
    summary: 'Put files back as they are staged, or as a version has them',
    load: () => import('./restore.ts').then((m) => m.command),
  },
  {
    name: 'fsck',
    group: 'work',
    summary: 'Check that every committed byte is here and right',
    load: () => import('./fsck.ts').then((m) => m.command),
  },
  {
    name: 'commit',
    group: 'history',
    summary: 'Record what is staged as a new version',
    load: () => import('./commit.ts').then((m) => m.command),
  },
  {
    name: 'switch',
    group: 'history',
    summary: 'Go to another branch or version; the work tree follows',
    load: () => import('./switch.ts').then((m) => m.command),
  },
  {
    name: 'log',
    group: 'history',
    summary: 'Show commits, newest first, and the runs trained on each',
    load: () => import('./log.ts').then((m) => m.command),
  },
  {
    name: 'show',
    group: 'history',
    summary: 'Show one commit and what it changed, or one run',
    load: () => import('./show.ts').then((m) => m.command),
  },
  {
    name: 'diff',
    group: 'history',
    summary: 'Show what differs between two versions',
    load: () => import('./diff.ts').then((m) => m.command),
  },
  {
    name: 'branch',
    group: 'history',
    summary: 'List, make, rename or delete branches',
    load: () => import('./branch.ts').then((m) => m.command),
  },
  {
    name: 'tag',
    group: 'history',
    summary: 'List, make or delete tags: names of versions that do not move',
    load: () => import('./tag.ts').then((m) => m.command),
  },
  {
    name: 'reflog',
    group: 'history',
    summary: 'Show where a branch has been: to undo',
    load: () => import('./reflog.ts').then((m) => m.command),
  },
  {
    name: 'remote add',
    group: 'share',
    summary: 'Write down a place to push to and pull from',
    load: () => import('./remote-add.ts').then((m) => m.command),
  },
  {
    name: 'remote list',
    group: 'share',
    summary: 'List the remotes',
    load: () => import('./remote-list.ts').then((m) => m.command),
  },
  {
    name: 'remote remove',
    group: 'share',
    summary: 'Forget a remote; what it holds stays there',
    load: () => import('./remote-remove.ts').then((m) => m.command),
  },
  {
    name: 'remote check',
    group: 'share',
    summary: 'Try whether a remote answers and keeps what it promises',
    load: () => import('./remote-check.ts').then((m) => m.command),
  },
  {
    name: 'push',
    group: 'share',
    summary: 'Send commits, their data and their runs to a remote',
    load: () => import('./push.ts').then((m) => m.command),
  },
  {
    name: 'fetch',
    group: 'share',
    summary: 'Bring what is new on a remote, without touching the work tree',
    load: () => import('./fetch.ts').then((m) => m.command),
  },
  {
    name: 'pull',
    group: 'share',
    summary: 'Bring what is new on a remote, and move this branch and its files to it',
    load: () => import('./pull.ts').then((m) => m.command),
  },
  {
    name: 'engine add',
    group: 'train',
    summary: 'Set up a faster training engine for this user',
    load: () => import('./engine-add.ts').then((m) => m.command),
  },
  {
    name: 'engine list',
    group: 'train',
    summary: 'List the training engines of this machine, best first',
    load: () => import('./engine-list.ts').then((m) => m.command),
  },
  {
    name: 'engine remove',
    group: 'train',
    summary: 'Remove an engine that was set up',
    load: () => import('./engine-remove.ts').then((m) => m.command),
  },
  {
    name: 'doctor',
    group: 'machine',
    summary: 'Show what this machine has and lacks, and the command that mends it',
    load: () => import('./doctor.ts').then((m) => m.command),
  },
  {
    name: 'table add',
    group: 'ask',
    summary: 'Declare a tracked CSV, TSV or Parquet file as a table with a key',
    load: () => import('./table-add.ts').then((m) => m.command),
  },
  {
    name: 'table list',
    group: 'ask',
    summary: 'List declared tables of this or another version',
    load: () => import('./table-list.ts').then((m) => m.command),
  },
  {
    name: 'table remove',
    group: 'ask',
    summary: 'Take a table declaration back; the file stays tracked',
    load: () => import('./table-remove.ts').then((m) => m.command),
  },
  {
    name: 'query',
    group: 'ask',
    summary: 'Ask SQL of the files and tables of this or another version',
    load: () => import('./query.ts').then((m) => m.command),
  },
  {
    name: 'trace',
    group: 'ask',
    summary: 'Show which runs and models saw these images, and in which split',
    load: () => import('./trace.ts').then((m) => m.command),
  },
  {
    name: 'run',
    group: 'train',
    summary: 'Train on a version of the data, and record what made the model',
    load: () => import('./run.ts').then((m) => m.command),
  },
  {
    name: 'runs',
    group: 'train',
    summary: 'List every training run, newest first',
    load: () => import('./runs.ts').then((m) => m.command),
  },
]
