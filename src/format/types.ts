/** `train.yaml`, resolved: every default filled in. The published schema is docs/train.schema.json. */
export interface TrainConfig {
  readonly version: 1
  readonly name: string
  readonly description: string
  readonly tags: readonly string[]
  readonly data: DataConfig
  readonly task: 'binary' | 'multiclass' | 'multilabel'
  readonly labelPolicy: LabelPolicy
  readonly split: SplitConfig
  readonly image: ImageConfig
  readonly balance: BalanceConfig
  readonly augment: AugmentConfig
  readonly model: {
    readonly arch: 'small_cnn' | 'resnet18'
    /** Share of the head's inputs dropped while training, 0 to 0.9. */
    readonly dropout: number
  }
  readonly loss: {
    readonly name: 'bce' | 'weighted_bce' | 'categorical_ce'
    /** Weight of positives: `auto` is negatives / positives of the train split, capped at 20; one number, or one a label. */
    readonly posWeight: 'auto' | number | readonly number[]
    /** 0 to 0.3. */
    readonly labelSmoothing: number
  }
  readonly optimizer: {
    readonly name: 'adam' | 'sgd'
    readonly lr: number
    /** Decoupled for adam (AdamW), added to the gradient for sgd. */
    readonly weightDecay: number
    /** sgd only. */
    readonly momentum: number
    /** Largest global norm of the gradient; 0: not clipped. */
    readonly clipNorm: number
  }
  readonly schedule: {
    readonly name: 'constant' | 'cosine'
    readonly warmupEpochs: number
    readonly minLr: number
  }
  readonly train: { readonly epochs: number; readonly batch: number }
  readonly earlyStop: {
    /** `none` trains all epochs and keeps the last weights. */
    readonly monitor: 'val/loss' | 'val/auroc_macro' | 'none'
    readonly patience: number
    readonly minDelta: number
  }
  readonly checkpoint: { readonly everyEpochs: number; readonly keepLast: number }
  readonly seed: number
  readonly evaluate: { readonly bootstrap: number }
  readonly engine: 'auto' | 'tensorflow' | 'wasm' | 'cpu'
}

/** Which images, from which version. Keys in YAML are snake_case: `label_policy`, `pos_weight`. */
export interface DataConfig {
  /** Branch, tag or commit; resolved to a commit id before the run. */
  readonly rev: string
  /** Name of a declared table. */
  readonly table: string
  /** SQL predicate over the columns of `files` and of the table; empty: all. */
  readonly where: string
  readonly label: {
    readonly column: string
    /** Between labels in one cell (`|`); empty: one label a cell. */
    readonly separator: string
    /** The labels that count, in order; empty: all that occur, sorted (binary: policy decides). */
    readonly classes: readonly string[]
  }
  /** The column that may never cross a split: the patient. */
  readonly group: string
  /** At most this many samples (smoke runs), whole groups first by seed; 0: all. */
  readonly limit: number
}

export interface LabelPolicy {
  /** Binary: labels that make a row positive. Empty: every label that is not `normal`. */
  readonly positive: readonly string[]
  /** The label that says nothing was found. */
  readonly normal: string
  /** What `normal` means: all labels 0, a class of its own, or rows left out. */
  readonly normalAs: 'all_zero' | 'own_class' | 'drop'
  /** Cells that are empty. */
  readonly missing: 'error' | 'drop' | 'zeros' | 'ignore'
  /** Values of `uncertainValues` (CheXpert -1): as present, absent, or left out of loss and metric. */
  readonly uncertain: 'ones' | 'zeros' | 'ignore'
  /** Multiclass rows with several labels; binary rows with positive and other labels count as positive. */
  readonly multiple: 'error' | 'drop' | 'first'
  /** Labels that occur but are not in `classes`. */
  readonly unknown: 'error' | 'warn' | 'ignore' | 'drop'
  /** Rows of the table whose image is not tracked. */
  readonly missingImages: 'error' | 'warn' | 'ignore'
  /** Tracked images under the table's root that have no row. */
  readonly imagesWithoutRow: 'error' | 'warn' | 'ignore'
  /** Labels with fewer positives than this in the cohort are an error; 0: no check. */
  readonly minCount: number
}

export interface SplitConfig {
  /** `group`: greedy, stratified, seeded, whole patients. `column`: a column of the table says it. */
  readonly method: 'group' | 'column'
  readonly ratios: { readonly train: number; readonly val: number; readonly test: number }
  readonly stratify: boolean
  readonly seed: number
  /** `column` only: the column, and which of its values mean which split. */
  readonly column: string
  readonly values: {
    readonly train: readonly string[]
    readonly val: readonly string[]
    readonly test: readonly string[]
  }
}

export interface ImageConfig {
  /** [height, width] in pixels, 16 to 1024. */
  readonly size: readonly [number, number]
  readonly channels: 1 | 3
  /** `pad` keeps the aspect on black, `stretch` does not, `crop` keeps the middle. */
  readonly resize: 'pad' | 'stretch' | 'crop'
  /** `unit`: [0, 1]. `symmetric`: [-1, 1]. `per_image`: zero mean, unit variance of each image. */
  readonly normalize: 'unit' | 'symmetric' | 'per_image'
}

export interface BalanceConfig {
  readonly method: 'none' | 'oversample'
  /** `oversample`: a class reaches this share of the largest class's count by repeating its samples. */
  readonly target: number
}

export type AugmentOp =
  | { readonly op: 'rotate'; readonly degrees: readonly [number, number]; readonly p: number }
  | { readonly op: 'shift'; readonly fraction: number; readonly p: number }
  | { readonly op: 'zoom'; readonly range: readonly [number, number]; readonly p: number }
  | { readonly op: 'brightness'; readonly range: number; readonly p: number }
  | { readonly op: 'contrast'; readonly range: number; readonly p: number }

export interface AugmentConfig {
  /** `minority`: only classes under `minorityBelow` of the largest, each image by one of its class's functions. */
  readonly applyTo: 'none' | 'all' | 'minority'
  readonly minorityBelow: number
  /** Random functions drawn for each minority class; each image of it gets that many copies, one a function. */
  readonly functionsPerClass: number
  readonly ops: readonly AugmentOp[]
}
