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
  /** The stamp of the oldest frame that is not published; one whose pack failed never will be. */
  pendingSince(): number | undefined
  /** Waits until at most two buffers, and one full pack, are on their way to the disk. */
  keepUp(): Promise<void>
  /** Publishes what was begun. The writer may be used again. @throws CxvError NO_SPACE, FILE_SYSTEM */
  finish(): Promise<void>
  /** Gives up the pack that is being filled; those on their way to the disk are waited for. */
  abandon(): Promise<void>
}

/** Holds the largest chunk's frame, and what of the block before was not written yet. */
const BUFFER_BYTES = (4 << 20) + (64 << 10)
/** One at the disk, and one for when that is written. */
const MAX_WRITING = 2
/** So that tiny files cannot make a table, or what waits for its pack, large. */
const MAX_FRAMES = 16_384

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
  let buffer = new Uint8Array(0)
  let used = 0
  /** Buffers that were written. */
  const spare: Uint8Array<ArrayBuffer>[] = []
  const writing: Promise<void>[] = []
  let open: OpenPack | undefined
  const closing: { readonly since: number; readonly done: Promise<void> }[] = []
  let failure: { readonly error: unknown } | undefined
  /** The oldest stamp of a pack that was given up. */
  let lostSince: number | undefined

  const giveUp = ({ since }: { readonly since: number }): void => {
    lostSince = Math.min(lostSince ?? since, since)
  }

  const newBuffer = (): Uint8Array<ArrayBuffer> => spare.pop() ?? alignedBytes(BUFFER_BYTES)

  /** Room for so many bytes behind what is used, by writing that if need be. */
  const makeRoom = (pack: OpenPack, length: number): void => {
    if (used > 0 && used + length > buffer.length) flush(pack)
    if (buffer.length === 0) buffer = newBuffer()
    if (used + length > buffer.length) buffer = enlarged(buffer, used, length)
  }

  /** Writes what is in the buffer while another is filled: whole blocks, or at the pack's end all of it. */
  const flush = (pack: OpenPack, end = false): void => {
    const full = buffer
    const length = end ? used : used - (used % DISK_BLOCK_BYTES)
    const rest = full.subarray(length, used)
    const position = pack.bufferAt
    pack.bufferAt += length
    buffer = rest.length > 0 ? newBuffer() : new Uint8Array(0)
    buffer.set(rest)
    used = rest.length
    const write = async (before: Promise<void>): Promise<void> => {
      await before
      try {
        await pack.file.write(full.subarray(0, length), position)
      } catch (error) {
        throw fileSystemError(error, pack.temporary)
      }
      if (full.length === BUFFER_BYTES) spare.push(full)
    }
    pack.written = write(pack.written)
    const settled = pack.written
      .catch((error: unknown) => void (failure ??= { error }))
      .then(() => void writing.splice(writing.indexOf(settled), 1))
    writing.push(settled)
  }

  /** Begins to write the rest. @returns table and footer */
  const endPack = (pack: OpenPack): Uint8Array => {
    const table = encodeTable(pack.entries)
    // Throws unless the frames it tells of lie end to end and fill the pack.
    decodeTable(table, pack.sizeBytes + table.length)
    makeRoom(pack, table.length)
    buffer.set(table, used)
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

  const writer: PackWriter = {
    append(objectKind, id, plain, stamp, mayCompress = true) {
      const { codec, bytes } = encodeBody(plain, mayCompress)
      writer.appendFrame(
        { kind: objectKind, codec, id, body: bytes, plainLength: plain.length },
        stamp,
      )
    },
    appendFrame(frame, stamp) {
      if (failure !== undefined) throw failure.error
      const length = FRAME_HEADER_BYTES + frame.body.length
      if (open !== undefined && !fits(open, length)) close()
      if (open === undefined) {
        open = beginPack(packs, kind, stamp)
        makeRoom(open, PACK_HEADER_BYTES)
        buffer.set(encodePackHeader(kind))
        used = PACK_HEADER_BYTES
      }
      makeRoom(open, length)
      const entry = {
        kind: frame.kind,
        codec: frame.codec,
        id: frame.id,
        offset: open.sizeBytes,
        storedLength: frame.body.length,
        plainLength: frame.plainLength,
      }
      writeFrame(buffer, used, frame)
      checkWritten(buffer, used, entry, frame.body)
      open.entries.push(entry)
      open.namer.add(frame)
      used += length
      open.sizeBytes += length
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
      used = 0
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

/** Room for a frame that no buffer has, behind what is used. */
function enlarged(buffer: Uint8Array, used: number, length: number): Uint8Array<ArrayBuffer> {
  const larger = alignedBytes(used + length)
  larger.set(buffer.subarray(0, used))
  return larger
}

const discard = ({ file, temporary }: OpenPack): void => discardOpen(file.fd(), temporary)

const fits = (pack: OpenPack, length: number): boolean =>
  pack.entries.length < MAX_FRAMES &&
  pack.sizeBytes + length + (pack.entries.length + 1) * TABLE_ENTRY_BYTES + PACK_FOOTER_BYTES <=
    PACK_TARGET_BYTES

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

/** Decodes the frame as a reader would, against what was meant. A stored body is the bytes that were hashed. */
function checkWritten(bytes: Uint8Array, at: number, meant: PackEntry, body: Uint8Array): void {
  const stored = meant.codec === 'stored'
  const entry = stored ? decodeFrameHeader(bytes, at) : decodeFrame(bytes, at).entry
  const bodyAt = at + FRAME_HEADER_BYTES
  if (
    !sameEntry({ ...entry, offset: meant.offset }, meant) ||
    (stored && !equalBytes(bytes.subarray(bodyAt, bodyAt + body.length), body))
  ) {
    throw new Error('a frame does not decode to what was encoded')
  }
}
