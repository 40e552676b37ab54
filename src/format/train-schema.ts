/** The part of JSON Schema (draft 7) that train.yaml's schema is written in. */
export interface SchemaNode {
  readonly $schema?: string
  readonly title?: string
  readonly description?: string
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean'
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly required?: readonly string[]
  readonly additionalProperties?: false
  readonly items?: SchemaNode
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly enum?: readonly (string | number)[]
  readonly const?: string | number
  readonly anyOf?: readonly SchemaNode[]
  readonly oneOf?: readonly SchemaNode[]
  readonly discriminator?: { readonly propertyName: string }
  readonly default?: unknown
}

const object = (
  description: string,
  properties: Readonly<Record<string, SchemaNode>>,
  required: readonly string[] = [],
): SchemaNode => ({
  description,
  type: 'object',
  properties,
  ...(required.length > 0 ? { required } : { default: {} }),
  additionalProperties: false,
})

const oneOf = <T extends string>(
  values: readonly T[],
  description: string,
  preset?: NoInfer<T>,
): SchemaNode => ({
  description,
  type: 'string',
  enum: values,
  ...(preset === undefined ? {} : { default: preset }),
})

// No control characters: names and columns are printed, stored in records and joined into SQL as parameters.
const PLAIN = '^[^\\u0000-\\u001f\\u007f]*$'
const text = (description: string, preset?: string): SchemaNode => ({
  description,
  type: 'string',
  maxLength: 1000,
  pattern: PLAIN,
  ...(preset === undefined ? { minLength: 1 } : { default: preset }),
})

const texts = (description: string, preset: readonly string[] = []): SchemaNode => ({
  description,
  type: 'array',
  items: { type: 'string', minLength: 1, maxLength: 1000, pattern: PLAIN },
  maxItems: 1000,
  uniqueItems: true,
  default: preset,
})

const number = (
  description: string,
  bounds: Pick<SchemaNode, 'minimum' | 'maximum' | 'exclusiveMinimum' | 'exclusiveMaximum'>,
  preset?: number,
): SchemaNode => ({
  description,
  type: 'number',
  ...bounds,
  ...(preset === undefined ? {} : { default: preset }),
})

const integer = (
  description: string,
  minimum: number,
  maximum: number,
  preset: number,
): SchemaNode => ({ description, type: 'integer', minimum, maximum, default: preset })

const flag = (description: string, preset: boolean): SchemaNode => ({
  description,
  type: 'boolean',
  default: preset,
})

const pair = (description: string, minimum: number, maximum: number): SchemaNode => ({
  description,
  type: 'array',
  items: { type: 'number', minimum, maximum },
  minItems: 2,
  maxItems: 2,
})

const MAX_SEED = 0xffff_ffff
const seed = (description: string): SchemaNode => integer(description, 0, MAX_SEED, 7)

const SEVERITY = ['error', 'warn', 'ignore'] as const
const share = { exclusiveMinimum: 0, exclusiveMaximum: 1 }
const chance = number('Share of images it is applied to', { minimum: 0, maximum: 1 })

const op = (name: string, own: Readonly<Record<string, SchemaNode>>): SchemaNode => ({
  type: 'object',
  properties: { op: { type: 'string', const: name }, ...own, p: chance },
  required: ['op'],
  additionalProperties: false,
})

/** What an operation is when the file names it and no more. Kept small: lungs are not cut off, sides never swapped. */
export const OP_DEFAULTS = {
  rotate: { degrees: [-10, 10], p: 0.5 },
  shift: { fraction: 0.05, p: 0.5 },
  zoom: { range: [0.9, 1.1], p: 0.5 },
  brightness: { range: 0.2, p: 0.5 },
  contrast: { range: 0.2, p: 0.5 },
} as const

const data = object(
  'Which images, from which version',
  {
    rev: text('Branch, tag or commit; resolved to a commit id before the run', 'HEAD'),
    table: text('Name of a table that `cxv table add` declared'),
    where: {
      description: 'SQL predicate over the columns of `files` and of the table; empty: all',
      type: 'string',
      maxLength: 100_000,
      default: '',
    },
    label: object(
      'Where the labels are',
      {
        column: text('Column that holds the labels'),
        separator: text('Between labels in one cell; empty: one label a cell', '|'),
        classes: texts('The labels that count, in this order; empty: all that occur, sorted'),
      },
      ['column'],
    ),
    group: text('Column that may never cross a split: the patient'),
    limit: integer(
      'At most this many images, whole patients first (smoke runs); 0: all',
      0,
      1e9,
      0,
    ),
  },
  ['table', 'label', 'group'],
)

const labelPolicy = object('How cells become labels', {
  positive: texts(
    'Binary only: labels that make a row positive; empty: all that count but `normal`',
  ),
  normal: text('The label that says nothing was found', 'No Finding'),
  normal_as: oneOf(
    ['all_zero', 'own_class', 'drop'],
    'What `normal` becomes: no label at all, a class of its own, or rows left out. Default: all_zero; multiclass: own_class',
  ),
  missing: oneOf(
    ['error', 'drop', 'zeros', 'ignore'],
    'Empty cells: stop, or, told with their count: leave the row out, no label, or unknown to loss and metric',
    'error',
  ),
  uncertain: oneOf(
    ['ones', 'zeros', 'ignore'],
    'Uncertain cells (-1 in CheXpert): present, absent, or unknown to loss and metric; told with their count. Multiclass: the row is left out',
    'ignore',
  ),
  multiple: oneOf(
    ['error', 'drop', 'first'],
    'Multiclass rows with several labels: stop, leave the row out, or take the first',
    'error',
  ),
  unknown: oneOf(
    ['error', 'warn', 'ignore', 'drop'],
    'Labels that are not in `data.label.classes`: stop, say so, pass over, or leave the row out',
    'error',
  ),
  missing_images: oneOf(SEVERITY, 'Rows whose image is not tracked', 'warn'),
  images_without_row: oneOf(SEVERITY, "Images under the table's folder that have no row", 'warn'),
  min_count: integer(
    'Fewest positives a label may have in the cohort; 0: no check',
    0,
    1_000_000_000,
    0,
  ),
})

const split = object('Who is trained on, who is tested on: whole patients', {
  method: oneOf(
    ['group', 'column'],
    'group: dealt by seed, whole patients; column: a column of the table says it',
    'group',
  ),
  ratios: {
    ...object('Method group: shares of the images; they sum to 1', {
      train: number('Share trained on', share, 0.7),
      val: number('Share that chooses the best epoch', share, 0.1),
      test: number('Share that is reported', share, 0.2),
    }),
  },
  stratify: flag('Keep each label about as frequent in every split', true),
  seed: seed('Deals the patients; apart from `seed`, so that seeds can vary on one split'),
  column: text('Method column: the column', ''),
  values: object("Method column: which of the column's values mean which split", {
    train: texts('Values that mean train', ['train']),
    val: texts('Values that mean validation', ['val']),
    test: texts('Values that mean test', ['test']),
  }),
})

const image = object('What the net sees', {
  size: {
    description: 'Height and width in pixels; one number for a square',
    anyOf: [
      { type: 'integer', minimum: 16, maximum: 1024 },
      {
        type: 'array',
        items: { type: 'integer', minimum: 16, maximum: 1024 },
        minItems: 2,
        maxItems: 2,
      },
    ],
    default: [128, 128],
  },
  channels: { description: 'Grey or colour', type: 'integer', enum: [1, 3], default: 1 },
  resize: oneOf(
    ['pad', 'stretch', 'crop'],
    'pad: keep the aspect on black; stretch: do not; crop: keep the middle',
    'pad',
  ),
  normalize: oneOf(
    ['unit', 'symmetric', 'per_image'],
    'unit: 0 to 1; symmetric: -1 to 1; per_image: zero mean and unit variance of each image',
    'per_image',
  ),
})

const augment = object('Random changes to training images, after the split', {
  apply_to: oneOf(
    ['none', 'all', 'minority'],
    'minority: only classes under `minority_below`, each image by functions drawn for its class',
    'none',
  ),
  minority_below: number(
    "Minority: under this share of the largest class's images",
    { exclusiveMinimum: 0, maximum: 1 },
    0.5,
  ),
  functions_per_class: integer(
    'Minority: functions drawn for each class; each image gets that many copies, one a function',
    1,
    100,
    10,
  ),
  ops: {
    description: 'The operations, each at most once; their order is fixed',
    type: 'array',
    maxItems: 50,
    items: {
      type: 'object',
      required: ['op'],
      discriminator: { propertyName: 'op' },
      oneOf: [
        op('rotate', { degrees: pair('From and to, degrees, counter-clockwise', -180, 180) }),
        op('shift', {
          fraction: number('At most this share of height and width', { minimum: 0, maximum: 0.5 }),
        }),
        op('zoom', { range: pair('From and to, factor', 0.25, 4) }),
        op('brightness', {
          range: number('Added: plus or minus this share of the full range', {
            minimum: 0,
            maximum: 1,
          }),
        }),
        op('contrast', {
          range: number('Factor: 1 plus or minus this', { minimum: 0, exclusiveMaximum: 1 }),
        }),
      ],
    },
    default: Object.entries(OP_DEFAULTS).map(([name, own]) => ({ op: name, ...own })),
  },
})

const loss = object('What training lowers', {
  name: oneOf(
    ['bce', 'weighted_bce', 'categorical_ce'],
    'bce and weighted_bce: binary, multilabel; categorical_ce: multiclass. Default: bce; multiclass: categorical_ce',
  ),
  pos_weight: {
    description:
      'weighted_bce only: weight of positives. auto: negatives / positives of the train split, at most 20; or one number, or one a label',
    anyOf: [
      { type: 'string', enum: ['auto'] },
      { type: 'number', exclusiveMinimum: 0, maximum: 1000 },
      {
        type: 'array',
        items: { type: 'number', exclusiveMinimum: 0, maximum: 1000 },
        minItems: 1,
        maxItems: 1000,
      },
    ],
    default: 'auto',
  },
  label_smoothing: number('Moves targets from 0 and 1', { minimum: 0, maximum: 0.3 }, 0),
})

const optimizer = object('How weights move', {
  name: oneOf(['adam', 'sgd'], 'Adam, or gradient descent with momentum', 'adam'),
  lr: number('Learning rate. Default: 0.001; sgd: 0.01', { exclusiveMinimum: 0, maximum: 10 }),
  weight_decay: number(
    'adam: decoupled (AdamW); sgd: added to the gradient',
    { minimum: 0, maximum: 1 },
    0,
  ),
  momentum: number('sgd only', { minimum: 0, exclusiveMaximum: 1 }, 0.9),
  clip_norm: number(
    'Largest global norm of the gradient; 0: not clipped',
    { minimum: 0, maximum: 1_000_000 },
    1,
  ),
})

const schedule = object('How the learning rate changes', {
  name: oneOf(['constant', 'cosine'], 'cosine: falls to `min_lr` at the last epoch', 'constant'),
  warmup_epochs: number(
    'Epochs in which it rises from 0 to `optimizer.lr`',
    { minimum: 0, maximum: 1000 },
    0,
  ),
  min_lr: number('Where cosine ends', { minimum: 0, maximum: 10 }, 0),
})

/** The published schema of train.yaml: the same as docs/train.schema.json, held equal by a test. */
export const TRAIN_SCHEMA: SchemaNode = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'cxv train.yaml, version 1',
  ...object(
    'One training: which images, which labels, which net. Documented in docs/train-yaml.md',
    {
      version: {
        description: "The version of this file's rules",
        type: 'integer',
        enum: [1],
      },
      name: text('Name of the run, shown in `cxv runs` and `cxv log`', 'run'),
      description: {
        description: 'What it is for',
        type: 'string',
        maxLength: 10_000,
        default: '',
      },
      tags: texts('Words to find the run by'),
      data,
      task: oneOf(
        ['binary', 'multiclass', 'multilabel'],
        'binary: one yes or no; multiclass: exactly one of several; multilabel: any of several',
      ),
      label_policy: labelPolicy,
      split,
      image,
      balance: object('Uneven classes', {
        method: oneOf(
          ['none', 'oversample'],
          'oversample: repeat the images of smaller classes',
          'none',
        ),
        target: number(
          "oversample: the share of the largest class's images that a class reaches",
          { exclusiveMinimum: 0, maximum: 1 },
          1,
        ),
      }),
      augment,
      model: object('The net', {
        arch: oneOf(['small_cnn', 'resnet18'], 'Its architecture', 'small_cnn'),
        dropout: number(
          "Share of the head's inputs dropped while training",
          { minimum: 0, maximum: 0.9 },
          0,
        ),
      }),
      loss,
      optimizer,
      schedule,
      train: object('How long', {
        epochs: integer('Passes over the train split, at most', 1, 100_000, 20),
        batch: integer('Images a step', 1, 4096, 32),
      }),
      early_stop: object('When to stop before; the best weights are kept', {
        monitor: oneOf(
          ['val/loss', 'val/auroc_macro', 'none'],
          'none: train all epochs and keep the last weights',
          'val/loss',
        ),
        patience: integer('Epochs without a better figure before it stops', 1, 100_000, 5),
        min_delta: number('What counts as better', { minimum: 0, maximum: 1000 }, 0),
      }),
      checkpoint: object('What `cxv run --resume` goes on from', {
        every_epochs: integer('Epochs from one checkpoint to the next', 1, 100_000, 1),
        keep_last: integer('Checkpoints kept', 1, 1000, 2),
      }),
      seed: seed('Order, augmentation, initial weights and dropout'),
      evaluate: object('What is reported', {
        bootstrap: integer(
          "Resamples of patients behind each AUROC's 95 % interval; 0: no interval",
          0,
          100_000,
          1000,
        ),
      }),
      engine: oneOf(
        ['auto', 'tensorflow', 'wasm', 'cpu'],
        'auto: the fastest that this machine has',
        'auto',
      ),
    },
    ['version', 'data', 'task'],
  ),
}

/** A key of the file as a key of `TrainConfig`: `label_policy` is `labelPolicy`. */
export const camel = (key: string): string =>
  key.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase())
