import type { ObjectKind } from '../format/index.ts'
import type { Answer } from './adder.ts'
import { pendingKey } from './add-wire.ts'
import type { ChunkIndex } from './level-index.ts'
import type { PublishedPack } from './pack-writer.ts'

/**
 * Answers what adders ask: whether a chunk is to be stored, is being stored by another of them, or is
 * known to the index. Of several that ask for one id, exactly one is told to store it.
 */
export interface AddDesk {
  ask(
    worker: number,
    kind: ObjectKind,
    stamp: number,
    ids: readonly Uint8Array[],
  ): Promise<readonly Answer[]>
  /** Indexes the pack; its ids are then known instead of pending. */
  published(pack: PublishedPack): Promise<void>
}

export function createAddDesk(index: ChunkIndex): AddDesk {
  const pending = new Map<string, { readonly worker: number; readonly stamp: number }>()
  return {
    async ask(worker, kind, stamp, ids) {
      const answers: Answer[] = []
      const unsure: number[] = []
      const mine = { worker, stamp }
      // Claimed before the first await: two adders must not both be told to store one id.
      ids.forEach((id, i) => {
        const key = pendingKey(kind, id)
        const claim = pending.get(key)
        if (claim !== undefined) {
          answers.push({ state: 'pending', ...claim })
          return
        }
        pending.set(key, mine)
        unsure.push(i)
        answers.push({ state: 'new' })
      })
      const asked = unsure.map((i) => ids[i]!)
      const found = await index.locate(kind, asked)
      found.forEach((at, i) => {
        if (at === undefined) return
        answers[unsure[i]!] = { state: 'known', at }
        pending.delete(pendingKey(kind, asked[i]!))
      })
      return answers
    },
    async published(pack) {
      await index.addPack({ ...pack, damaged: false }, pack.entries)
      for (const entry of pack.entries) pending.delete(pendingKey(entry.kind, entry.id))
    },
  }
}
