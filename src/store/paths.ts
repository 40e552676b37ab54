import type { PackId } from '../base/index.ts'

export const packsFolder = (folder: string): string => `${folder}/packs`
export const badFolder = (folder: string): string => `${folder}/bad`
export const temporariesFolder = (folder: string): string => `${folder}/tmp`
export const indexFolder = (folder: string): string => `${folder}/index`
export const packFolder = (packs: string, id: PackId): string => `${packs}/${id.slice(0, 2)}`
export const packName = (id: PackId): string => `${id}.pack`
export const packPath = (packs: string, id: PackId): string =>
  `${packFolder(packs, id)}/${packName(id)}`
export const PACK_NAME = /^([0-9a-f]{64})\.pack$/
