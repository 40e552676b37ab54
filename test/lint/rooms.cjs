// dependency-cruiser rules. Rooms, lowest first (docs/design.md, "Rooms"): a room imports only rooms before it.
const rooms = [
  'base',
  'io',
  'format',
  'backend',
  'store',
  'history',
  'repo',
  'table',
  'dataset',
  'sync',
  'lineage',
  'train',
  'commands',
  'cli',
  'serve',
  'ui',
]
const notTest = '[.](test|worker-test)[.]ts$'

const looksDownOnly = rooms.slice(0, -1).map((room, i) => ({
  name: `${room}-looks-down-only`,
  severity: 'error',
  comment: 'move the shared thing to a lower room, or pass it in as an argument',
  from: { path: `^src/${room}/` },
  to: { path: `^src/(${rooms.slice(i + 1).join('|')})/` },
}))

const door = (pkg, file) => ({
  name: `one-door-for-${pkg}`,
  severity: 'error',
  comment: `only ${file} may import ${pkg}`,
  from: { path: '^src/', pathNot: [file, notTest] },
  to: { path: `node_modules/${pkg}(/|$)` },
})

module.exports = {
  forbidden: [
    ...looksDownOnly,
    door('level', '^src/store/level-index[.]ts$'),
    door('isomorphic-git', '^src/history/git[.]ts$'),
    door('@tensorflow', '^src/train/'),
    door('sharp', '^src/dataset/decode[.]ts$'),
    door('@duckdb', '^src/table/duckdb[.]ts$'),
    door('yargs', '^src/cli/'),
    door('@resvg', '^src/lineage/plot-png[.]ts$'),
    {
      name: 'two-doors-per-room',
      severity: 'error',
      comment: 'enter a room by index.ts or types.ts',
      from: { path: '^src/([^/]+)/' },
      to: {
        path: '^src/([^/]+)/',
        pathNot: ['^src/$1/', '^src/[^/]+/(index|types)[.]ts$', '^src/base/'],
      },
    },
    {
      name: 'train-sees-dataset-types-only',
      severity: 'error',
      comment: 'training knows batches, not where they came from',
      from: { path: '^src/train/' },
      to: { path: '^src/', pathNot: ['^src/(train|base)/', '^src/dataset/types[.]ts$'] },
    },
    {
      name: 'base-and-format-are-pure',
      severity: 'error',
      comment: 'no I/O below io/; codecs map bytes to objects',
      from: { path: '^src/(base|format)/', pathNot: notTest },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(buffer|crypto|zlib)$' },
    },
    {
      name: 'os-only-through-io',
      severity: 'error',
      comment: 'file system, network and processes live in io/',
      from: { path: '^src/', pathNot: ['^src/io/', notTest] },
      to: {
        dependencyTypes: ['core'],
        path: '^(node:)?(fs|fs/promises|net|tls|http|https|child_process|os|worker_threads)$',
      },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'src-not-to-test',
      severity: 'error',
      from: { path: '^src/', pathNot: notTest },
      to: { path: '^(test|fixtures)/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
}
