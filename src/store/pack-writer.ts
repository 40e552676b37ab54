import { equalBytes, type PackId } from '../base/index.ts'
import {
  createPackNamer,
  decodeFrame,
  decodeFrameHeader,
  decodeTable,
  encodeBody,
  encodePackHeader,
  encodeTable,
  FRAME_HEADER_BYTES,
  type FrameToWrite,
  type ObjectKind,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  PACK_TARGET_BYTES,
  type PackEntry,
  type PackKind,
  type PackNamer,
  sameEntry,
  TABLE_ENTRY_BYTES,
  writeFrame,
} from '../format/index.ts'
import {
  alignedBytes,
  createUncachedFile,
  discardOpen,
  DISK_BLOCK_BYTES,
  fileSystemError,
  makeFolder,
  publishOpenFile,
  temporaryBeside,
  threadName,
  type UncachedFile,
} from '../io/index.ts'
import { packFolder, packName } from './paths.ts'

export interface PublishedPack {
  readonly id: PackId
  readonly kind: PackKind
  readonly sizeBytes: number
  readonly entries: readonly PackEntry[]
}

/**
 * Fills packs one after another, past the page cache. Memory: some buffers, whatever is written. Frames are
 * compared with what was meant before they leave; a pack gets its name only when durable; packs are published
 * in order.
 */
export interface PackWriter {
  /**
   * @param stamp grows from call to call; see `pendingSince`
   * @param mayCompress false where the caller knows the bytes are compressed already
   */
  append(
    kind: ObjectKind,
    id: Uint8Array,
    plain: Uint8Array,
    stamp: number,
    mayCompress?: boolean,
  ): void
  /** As `append`, for a frame that is encoded already. */
  appendFrame(frame: FrameToWrite, stamp: number): void
  /** A new sheet. Sheets are ended in the order they were begun in, and few are open at a time. */
  beginSheet(): Sheet
  /** As `append`, of a chunk that was read into a sheet; the bytes before its end are then the writer's. */
  appendRead(
    sheet: Sheet,
    id: Uint8Array,
    from: number,
    to: number,
    stamp: number,
    mayCompress: boolean,
  ): void
  /** Its memory is the writer's again. */
  endSheet(sheet: Sheet): void
  /** The stamp of the oldest frame that is not published; one whose pack failed never will be. */
  pendingSince(): number | undefined
  /** Waits until at most two buffers, and one full pack, are on their way to the disk. */
  keepUp(): Promise<void>
  /** Publishes what was begun. The writer may be used again. @throws CxvError NO_SPACE, FILE_SYSTEM */
  finish(): Promise<void>
  /** Gives up the pack that is being filled; those on their way to the disk are waited for. */
  abandon(): Promise<void>
}

/**
 * Memory that chunks are read into, before it is known which of them will be stored. Laid out as the pack will be
 * if all are, as they are: then none is copied.
 */
export interface Sheet {
  /** Of `SHEET_BYTES`, to be filled where there is `room`, or as a `window`. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Where a body of so many bytes can be read; undefined when it is for the next sheet. */
  room(length: number): number | undefined
  /** The body that there was room for is there. */
  keep(length: number): void
  /** `bytes` of a new sheet, for whatever order the caller likes: no body has room, what is stored is copied. */
  window(): Uint8Array<ArrayBuffer>
}

/** Holds the largest chunk's frame and a file, and what of the block before was not written yet. */
export const SHEET_BYTES = (5 << 20) + (64 << 10)
/** One at the disk, and one for when that is written. */
const MAX_WRITING = 2
/**
 * Two that are read into or stored, those that were being written before, the buffer that ends a pack, its table's,
 * and that of the next pack.
 */
const SLAB_SHEETS = 7
/** So that tiny files cannot make a table, or what waits for its pack, large. */
const MAX_FRAMES = 16_384

interface Memory {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Of the buffer, a sheet and writes, those that it is. */
  holders: number
}

interface OpenSheet extends Sheet {
  readonly memory: Memory
  /** Frames of what was kept, and how many. */
  readonly kept: { sizeBytes: number; frames: number }
  /** How full the pack is foreseen to be when the first of it is stored. */
  before: PackFill
  /** Whether its memory can become the buffer: not that of a window, and once, for a write of it may be on its way. */
  adoptable: boolean
}

interface OpenPack {
  readonly file: UncachedFile
  readonly temporary: string
  readonly namer: PackNamer
  readonly entries: PackEntry[]
  readonly since: number
  sizeBytes: number
  /** Where the buffer starts in the pack: a whole number of blocks. */
  bufferAt: number
  /** The last of its writes, which come one after another. */
  written: Promise<void>
}

/** @param onPublished called in order, after the pack is durable; the writer waits for its promise */
export function createPackWriter(
  packs: string,
  kind: PackKind,
  onPublished: (pack: PublishedPack) => Promise<void>,
): PackWriter {
  let buffer: Memory | undefined
  /** Where in the buffer the pack's block at `bufferAt` begins, a whole number of blocks, and where it ends. */
  let begin = 0
  let used = 0
  /** What of a block was not written, while there is no buffer. */
  let carry: Uint8Array = new Uint8Array(0)
  /** Memory that nobody holds. */
  const spare: Memory[] = []
  /** Those that were begun and not ended. */
  const sheets: OpenSheet[] = []
  const writing: Promise<void>[] = []
  let open: OpenPack | undefined
  const closing: { readonly since: number; readonly done: Promise<void> }[] = []
  let failure: { readonly error: unknown } | undefined
  /** The oldest stamp of a pack that was given up. */
  let lostSince: number | undefined

  const giveUp = ({ since }: { readonly since: number }): void => {
    lostSince = Math.min(lostSince ?? since, since)
  }

  const takeMemory = (length = SHEET_BYTES): Memory => {
    if (length > SHEET_BYTES) return { bytes: alignedBytes(length), holders: 1 }
    let memory = spare.pop()
    if (memory === undefined) {
      // Together, see `alignedBytes`. What is never used is never of the machine's memory.
      const slab = alignedBytes(SLAB_SHEETS * SHEET_BYTES)
      for (let at = 0; at < SLAB_SHEETS * SHEET_BYTES; at += SHEET_BYTES) {
        spare.push({ bytes: slab.subarray(at, at + SHEET_BYTES), holders: 0 })
      }
      memory = spare.pop()!
    }
    memory.holders++
    return memory
  }
  const release = (memory: Memory): void => {
    if (--memory.holders === 0 && memory.bytes.length === SHEET_BYTES) spare.push(memory)
  }

  /** A buffer with room for so many bytes behind what is used, by writing that if need be. */
  const makeRoom = (pack: OpenPack, length: number): Memory => {
    if (buffer !== undefined && used + length > buffer.bytes.length) flush(pack)
    if (buffer === undefined) {
      buffer = takeMemory(carry.length + length)
      buffer.bytes.set(carry)
      begin = 0
      used = carry.length
    }
    return buffer
  }

  /** Writes what is in the buffer while another is filled: whole blocks, or at the pack's end all of it. */
  const flush = (pack: OpenPack, end = false): void => {
    const full = buffer
    if (full === undefined) return
    const length = end ? used - begin : wholeBlocksIn(used - begin)
    const block = full.bytes.subarray(begin, begin + length)
    const position = pack.bufferAt
    pack.bufferAt += length
    carry = full.bytes.slice(begin + length, used)
    buffer = undefined
    if (length === 0) return release(full)
    const write = async (before: Promise<void>): Promise<void> => {
      try {
        await before
        await pack.file.write(block, position).catch((error: unknown) => {
          throw fileSystemError(error, pack.temporary)
        })
      } finally {
        release(full)
      }
    }
    pack.written = write(pack.written)
    const settled = pack.written
      .catch((error: unknown) => void (failure ??= { error }))
      .then(() => void writing.splice(writing.indexOf(settled), 1))
    writing.push(settled)
  }

  /** Behind what is used, a sheet may hold what was read into it and comes later. */
  const leaveSheet = (pack: OpenPack): void => {
    if (sheets.some(({ memory }) => memory === buffer)) flush(pack)
  }

  /** Makes a sheet's memory the buffer. What is stored of it then lies where it was read, or is moved down. */
  const adopt = (pack: OpenPack, sheet: OpenSheet): void => {
    const { memory } = sheet
    const start = startOf(sheet)
    if (sheet.kept.frames === 0)
      throw new Error('nothing was kept in the sheet, which is no window')
    sheet.adoptable = false
    flush(pack)
    begin = wholeBlocksIn(start)
    if (begin + carry.length > start) begin -= DISK_BLOCK_BYTES
    memory.bytes.set(carry, begin)
    used = begin + carry.length
    memory.holders++
    buffer = memory
  }

  /** How full the pack will be, if all that is kept in sheets is stored as it is. */
  const foresee = (): PackFill => {
    const last = sheets.findLast(({ kept }) => kept.frames > 0)
    if (last !== undefined) return fillAfter(last)
    return open === undefined ? EMPTY_PACK : fillOf(open)
  }

  /** Begins to write the rest. @returns table and footer */
  const endPack = (pack: OpenPack): Uint8Array => {
    const table = encodeTable(pack.entries)
    // Throws unless the frames it tells of lie end to end and fill the pack.
    decodeTable(table, pack.sizeBytes + table.length)
    leaveSheet(pack)
    makeRoom(pack, table.length).bytes.set(table, used)
    used += table.length
    flush(pack, true)
    return table
  }

  const publish = async (
    pack: OpenPack,
    table: Uint8Array,
    before: Promise<void>,
  ): Promise<void> => {
    const id = pack.namer.name(table)
    try {
      await pack.written
    } catch (error) {
      discard(pack)
      throw error
    }
    await publishOpenFile(pack.file.fd(), pack.temporary, packFolder(packs, id), packName(id))
    await before
    const sizeBytes = pack.sizeBytes + table.length
    await onPublished({ id, kind, sizeBytes, entries: pack.entries })
  }

  const close = (): void => {
    const pack = open
    if (pack === undefined) return
    const table = endPack(pack)
    open = undefined
    const before = closing.at(-1)?.done ?? Promise.resolve()
    const entry = {
      since: pack.since,
      done: publish(pack, table, before).then(
        () => {
          closing.splice(closing.indexOf(entry), 1)
        },
        (error: unknown) => {
          failure ??= { error }
          giveUp(pack)
          closing.splice(closing.indexOf(entry), 1)
        },
      ),
    }
    closing.push(entry)
  }

  const opened = (sheet: Sheet): OpenSheet => {
    const known = sheets.find((one) => one === sheet)
    if (known === undefined) throw new Error('the sheet was ended')
    return known
  }

  /** @param sheet that the frame's plain bytes were read into */
  const put = (frame: FrameToWrite, stamp: number, sheet?: OpenSheet): void => {
    if (failure !== undefined) throw failure.error
    const length = FRAME_HEADER_BYTES + frame.body.length
    if (open !== undefined && !fits(fillOf(open), length)) close()
    if (open === undefined) {
      open = beginPack(packs, kind, stamp)
      carry = encodePackHeader(kind)
    }
    if (sheet?.adoptable === true) adopt(open, sheet)
    else if (sheet?.memory !== buffer) leaveSheet(open)
    const { bytes } = makeRoom(open, length)
    const entry = {
      kind: frame.kind,
      codec: frame.codec,
      id: frame.id,
      offset: open.sizeBytes,
      storedLength: frame.body.length,
      plainLength: frame.plainLength,
    }
    writeFrame(bytes, used, frame)
    checkWritten(bytes, used, entry, frame.body)
    open.entries.push(entry)
    open.namer.add(frame)
    used += length
    open.sizeBytes += length
  }

  const writer: PackWriter = {
    append(objectKind, id, plain, stamp, mayCompress = true) {
      const { codec, bytes } = encodeBody(plain, mayCompress)
      put({ kind: objectKind, codec, id, body: bytes, plainLength: plain.length }, stamp)
    },
    appendFrame: (frame, stamp) => put(frame, stamp),
    beginSheet() {
      const memory = takeMemory()
      const kept = { sizeBytes: 0, frames: 0 }
      const sheet: OpenSheet = {
        memory,
        kept,
        before: EMPTY_PACK,
        adoptable: true,
        bytes: memory.bytes,
        room(length) {
          if (!sheet.adoptable) return undefined
          const frame = FRAME_HEADER_BYTES + length
          if (kept.frames === 0) {
            const before = foresee()
            sheet.before = fits(before, frame) ? before : EMPTY_PACK
          }
          const at = startOf(sheet) + kept.sizeBytes
          return fits(fillAfter(sheet), frame) && at + frame <= SHEET_BYTES
            ? at + FRAME_HEADER_BYTES
            : undefined
        },
        keep(length) {
          kept.sizeBytes += FRAME_HEADER_BYTES + length
          kept.frames++
        },
        window() {
          sheet.adoptable = false
          return memory.bytes
        },
      }
      sheets.push(sheet)
      return sheet
    },
    appendRead(sheet, id, from, to, stamp, mayCompress) {
      const plain = sheet.bytes.subarray(from, to)
      const { codec, bytes } = encodeBody(plain, mayCompress)
      const frame = { kind: 'chunk' as const, codec, id, body: bytes, plainLength: plain.length }
      put(frame, stamp, opened(sheet))
    },
    endSheet(sheet) {
      const ended = opened(sheet)
      sheets.splice(sheets.indexOf(ended), 1)
      if (buffer === ended.memory && open !== undefined) flush(open)
      release(ended.memory)
    },
    pendingSince() {
      const since = closing[0]?.since ?? open?.since
      return since === undefined || lostSince === undefined
        ? (since ?? lostSince)
        : Math.min(since, lostSince)
    },
    async keepUp() {
      while (closing.length > 1) await closing[0]?.done
      while (writing.length > MAX_WRITING) await writing[0]
      if (failure !== undefined) throw failure.error
    },
    async finish() {
      if (failure === undefined) close()
      while (closing.length > 0) await closing[0]?.done
      if (failure !== undefined) throw failure.error
    },
    async abandon() {
      const pack = open
      open = undefined
      if (buffer !== undefined) release(buffer)
      buffer = undefined
      await Promise.all(writing)
      if (pack !== undefined) {
        giveUp(pack)
        discard(pack)
      }
      while (closing.length > 0) await closing[0]?.done
    },
  }
  return writer
}

const discard = ({ file, temporary }: OpenPack): void => discardOpen(file.fd(), temporary)

/** How full a pack is. */
interface PackFill {
  /** Header and frames. */
  readonly sizeBytes: number
  readonly frames: number
}

const EMPTY_PACK: PackFill = { sizeBytes: PACK_HEADER_BYTES, frames: 0 }

const fillAfter = ({ before, kept }: OpenSheet): PackFill => ({
  sizeBytes: before.sizeBytes + kept.sizeBytes,
  frames: before.frames + kept.frames,
})

/**
 * Where the first frame begins in a sheet's memory: as far into a block as it will in the pack, behind a block for
 * what has to lie there if that was foreseen wrong.
 */
const startOf = ({ before }: OpenSheet): number =>
  DISK_BLOCK_BYTES + (before.sizeBytes % DISK_BLOCK_BYTES)

const fillOf = ({ sizeBytes, entries }: OpenPack): PackFill => ({
  sizeBytes,
  frames: entries.length,
})

const fits = ({ sizeBytes, frames }: PackFill, length: number): boolean =>
  frames < MAX_FRAMES &&
  sizeBytes + length + (frames + 1) * TABLE_ENTRY_BYTES + PACK_FOOTER_BYTES <= PACK_TARGET_BYTES

const wholeBlocksIn = (length: number): number => length - (length % DISK_BLOCK_BYTES)

function beginPack(packs: string, kind: PackKind, since: number): OpenPack {
  makeFolder(packs)
  const temporary = temporaryBeside(`${packs}/${threadName()}`)
  let file: UncachedFile
  try {
    file = createUncachedFile(temporary, 0o444)
  } catch (error) {
    throw fileSystemError(error, temporary)
  }
  return {
    file,
    temporary,
    namer: createPackNamer(kind),
    entries: [],
    since,
    sizeBytes: PACK_HEADER_BYTES,
    bufferAt: 0,
    written: Promise.resolve(),
  }
}

/**
 * Decodes the frame as a reader would, against what was meant. A stored body is the bytes that were hashed; one that
 * was moved over itself, of which no other copy is left, is hashed again.
 */
function checkWritten(bytes: Uint8Array, at: number, meant: PackEntry, body: Uint8Array): void {
  const bodyAt = at + FRAME_HEADER_BYTES
  const stored = meant.codec === 'stored'
  const shift = body.byteOffset - (bytes.byteOffset + bodyAt)
  // Memory of one slab is of one buffer.
  const inPlace = body.buffer === bytes.buffer && Math.abs(shift) < Math.max(1, body.length)
  const moved = inPlace && shift !== 0
  const entry = stored && !moved ? decodeFrameHeader(bytes, at) : decodeFrame(bytes, at).entry
  if (
    !sameEntry({ ...entry, offset: meant.offset }, meant) ||
    (stored && !inPlace && !equalBytes(bytes.subarray(bodyAt, bodyAt + body.length), body))
  ) {
    throw new Error('a frame does not decode to what was encoded')
  }
}
