import type { PackId } from '../base/index.ts'
import {
  checkFrame,
  createPackNamer,
  decodeFrame,
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
  closeFile,
  createNew,
  fileSystemError,
  makeFolder,
  publishOpenFile,
  removeQuick,
  temporaryBeside,
  threadName,
  writeAll,
} from '../io/index.ts'
import { packFolder, packName } from './paths.ts'

export interface PublishedPack {
  readonly id: PackId
  readonly kind: PackKind
  readonly sizeBytes: number
  readonly entries: readonly PackEntry[]
}

/**
 * Fills packs one after another. Memory: one buffer, whatever is written. Frames are decoded again
 * before they leave it; a pack gets its name only when durable; packs are published in order.
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
  /** Waits until at most one full pack is on its way to the disk. */
  keepUp(): Promise<void>
  /** Publishes what was begun. The writer may be used again. @throws CxvError NO_SPACE, FILE_SYSTEM */
  finish(): Promise<void>
  /** Gives up the pack that is being filled; those on their way to the disk are waited for. */
  abandon(): Promise<void>
}

/** Holds the largest chunk's frame. */
const BUFFER_BYTES = (4 << 20) + (64 << 10)
/** So that tiny files cannot make a table, or what waits for its pack, large. */
const MAX_FRAMES = 16_384

interface OpenPack {
  readonly fd: number
  readonly temporary: string
  readonly namer: PackNamer
  readonly entries: PackEntry[]
  readonly since: number
  sizeBytes: number
  /** Frames before this one are in the file, the others in the buffer, which starts at `bufferAt`. */
  flushed: number
  bufferAt: number
}

/** @param onPublished called in order, after the pack is durable; the writer waits for its promise */
export function createPackWriter(
  packs: string,
  kind: PackKind,
  onPublished: (pack: PublishedPack) => Promise<void>,
): PackWriter {
  let buffer = new Uint8Array(0)
  let used = 0
  let open: OpenPack | undefined
  const closing: { readonly since: number; readonly done: Promise<void> }[] = []
  let failure: { readonly error: unknown } | undefined
  /** The oldest stamp of a pack that was given up. */
  let lostSince: number | undefined

  const giveUp = ({ since }: { readonly since: number }): void => {
    lostSince = Math.min(lostSince ?? since, since)
  }

  const flush = (pack: OpenPack): void => {
    if (used === 0) return
    const bytes = buffer.subarray(0, used)
    checkBeforeWriting(bytes, pack)
    try {
      writeAll(pack.fd, bytes)
    } catch (error) {
      throw fileSystemError(error, pack.temporary)
    }
    pack.flushed = pack.entries.length
    pack.bufferAt += used
    used = 0
  }

  const publish = async (pack: OpenPack, before: Promise<void>): Promise<void> => {
    const table = encodeTable(pack.entries)
    try {
      // Throws unless the frames it tells of lie end to end and fill the pack.
      decodeTable(table, pack.sizeBytes + table.length)
      writeAll(pack.fd, table)
    } catch (error) {
      discard(pack)
      throw fileSystemError(error, pack.temporary)
    }
    const id = pack.namer.name(table)
    await publishOpenFile(pack.fd, pack.temporary, packFolder(packs, id), packName(id))
    await before
    const sizeBytes = pack.sizeBytes + table.length
    await onPublished({ id, kind, sizeBytes, entries: pack.entries })
  }

  const close = (): void => {
    const pack = open
    if (pack === undefined) return
    flush(pack)
    open = undefined
    const before = closing.at(-1)?.done ?? Promise.resolve()
    const entry = {
      since: pack.since,
      done: publish(pack, before).then(
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
        if (buffer.length === 0) buffer = new Uint8Array(BUFFER_BYTES)
        open = beginPack(packs, kind, stamp)
        buffer.set(encodePackHeader(kind))
        used = PACK_HEADER_BYTES
      }
      if (used + length > buffer.length) flush(open)
      if (length > buffer.length) buffer = new Uint8Array(length)
      const offset = open.sizeBytes
      open.entries.push({
        kind: frame.kind,
        codec: frame.codec,
        id: frame.id,
        offset,
        storedLength: frame.body.length,
        plainLength: frame.plainLength,
      })
      open.namer.add(frame)
      used += writeFrame(buffer, used, frame)
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
      if (failure !== undefined) throw failure.error
    },
    async finish() {
      if (failure === undefined) close()
      while (closing.length > 0) await closing[0]?.done
      if (failure !== undefined) throw failure.error
    },
    async abandon() {
      if (open !== undefined) {
        giveUp(open)
        discard(open)
      }
      open = undefined
      used = 0
      while (closing.length > 0) await closing[0]?.done
    },
  }
  return writer
}

function discard(pack: OpenPack): void {
  closeFile(pack.fd)
  removeQuick(pack.temporary)
}

const fits = (pack: OpenPack, length: number): boolean =>
  pack.entries.length < MAX_FRAMES &&
  pack.sizeBytes + length + (pack.entries.length + 1) * TABLE_ENTRY_BYTES + PACK_FOOTER_BYTES <=
    PACK_TARGET_BYTES

function beginPack(packs: string, kind: PackKind, since: number): OpenPack {
  makeFolder(packs)
  const temporary = temporaryBeside(`${packs}/${threadName()}`)
  let fd: number
  try {
    fd = createNew(temporary, 0o444)
  } catch (error) {
    throw fileSystemError(error, temporary)
  }
  return {
    fd,
    temporary,
    namer: createPackNamer(kind),
    entries: [],
    since,
    sizeBytes: PACK_HEADER_BYTES,
    flushed: 0,
    bufferAt: 0,
  }
}

/** Decodes the frames in the buffer as a reader would, against what was meant. */
function checkBeforeWriting(bytes: Uint8Array, pack: OpenPack): void {
  for (let i = pack.flushed; i < pack.entries.length; i++) {
    const meant = pack.entries[i]!
    const at = meant.offset - pack.bufferAt
    const entry = meant.codec === 'stored' ? checkFrame(bytes, at) : decodeFrame(bytes, at).entry
    if (!sameEntry({ ...entry, offset: meant.offset }, meant)) {
      throw new Error('a frame does not decode to what was encoded')
    }
  }
}
