import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import type { ImageConfig } from '../format/types.ts'
import { openDecoder } from './decode.ts'

const decode = async (
  bytes: Uint8Array,
  size: readonly [number, number],
  more: Partial<ImageConfig> = {},
): Promise<Uint8Array> => {
  const image = { size, channels: 1, resize: 'pad', normalize: 'unit', ...more } as const
  return (await openDecoder(image))(bytes)
}

const raw = (
  data: Uint8Array | Uint16Array,
  [height, width]: readonly [number, number],
  channels: 1 | 3 | 4 = 1,
): Sharp => sharp(data, { raw: { width, height, channels } })

/** 16 x 16 greys, smooth enough for JPEG. */
const GREY = Uint8Array.from({ length: 256 }, (_, i) => 20 + (i % 16) * 7 + (i >> 4) * 6)
const near = (actual: Uint8Array, wanted: Uint8Array, most: number): void => {
  assert.equal(actual.length, wanted.length)
  for (const [i, v] of wanted.entries()) {
    assert.ok(Math.abs(actual[i]! - v) <= most, `pixel ${i}: ${actual[i]}, not ${v}`)
  }
}

test('grey PNG, TIFF, lossless WebP and GIF keep their pixels; JPEG nearly', async () => {
  const image = raw(GREY, [16, 16])
  const size = [16, 16] as const
  assert.deepEqual(await decode(await image.clone().png().toBuffer(), size), GREY)
  const tiff = await image.clone().toColourspace('b-w').tiff({ compression: 'lzw' }).toBuffer()
  assert.deepEqual(await decode(tiff, size), GREY)
  near(await decode(await image.clone().webp({ lossless: true }).toBuffer(), size), GREY, 1)
  near(await decode(await image.clone().jpeg({ quality: 100 }).toBuffer(), size), GREY, 3)
  const steps = GREY.map((v) => v & 0xf0)
  near(await decode(await raw(steps, [16, 16]).gif().toBuffer(), size), steps, 2)
})

test('16-bit grey is scaled to 8, as PNG and as TIFF', async () => {
  const wide = Uint16Array.from({ length: 256 }, (_, i) => i * 257)
  const eight = Uint8Array.from({ length: 256 }, (_, i) => i)
  const image = raw(wide, [16, 16]).toColourspace('grey16')
  const png = await image.clone().png().toBuffer()
  assert.equal((await sharp(png).metadata()).depth, 'ushort')
  near(await decode(png, [16, 16]), eight, 1)
  const tiff = await image.clone().tiff({ compression: 'none' }).toBuffer()
  assert.equal((await sharp(tiff).metadata()).depth, 'ushort')
  near(await decode(tiff, [16, 16]), eight, 1)
  near(await decode(png, [16, 16], { channels: 3 }), thrice(eight), 1)
})

test('RGBA with R = G = B is its grey: alpha is dropped, not blended, also when resized', async () => {
  const rgba = new Uint8Array(32 * 32 * 4)
  for (let i = 0; i < 32 * 32; i++) rgba.set([120, 120, 120, i % 3 === 0 ? 0 : 200], i * 4)
  const png = await raw(rgba, [32, 32], 4).png().toBuffer()
  near(await decode(png, [32, 32]), new Uint8Array(32 * 32).fill(120), 1)
  near(await decode(png, [16, 16]), new Uint8Array(16 * 16).fill(120), 1)
  near(await decode(png, [16, 16], { channels: 3 }), new Uint8Array(16 * 16 * 3).fill(120), 1)
})

test('grey as three channels is three times the grey; colour as one is its lightness', async () => {
  const png = await raw(GREY, [16, 16]).png().toBuffer()
  near(await decode(png, [16, 16], { channels: 3 }), thrice(GREY), 0)
  const rgb = new Uint8Array(16 * 16 * 3)
  for (let i = 0; i < 256; i++) rgb.set([255, 0, 0], i * 3)
  const red = await raw(rgb, [16, 16], 3).png().toBuffer()
  assert.deepEqual(await decode(red, [16, 16], { channels: 3 }), rgb)
  const grey = await decode(red, [16, 16])
  assert.ok(grey.every((v) => v > 30 && v < 150 && v === grey[0]))
})

test('pad keeps the aspect on black, stretch fills, crop keeps the middle', async () => {
  // 64 wide, 32 high: a dark left half, a bright right half.
  const wide = Uint8Array.from({ length: 64 * 32 }, (_, i) => (i % 64 < 32 ? 60 : 220))
  const png = await raw(wide, [32, 64]).png().toBuffer()
  const at = (x: Uint8Array, row: number, column: number): number => x[row * 32 + column]!
  const padded = await decode(png, [32, 32], { resize: 'pad' })
  for (const row of [0, 7, 24, 31]) for (const c of [2, 29]) assert.equal(at(padded, row, c), 0)
  for (const row of [9, 22]) {
    assert.deepEqual([at(padded, row, 2), at(padded, row, 29)], [60, 220])
  }
  const stretched = await decode(png, [32, 32], { resize: 'stretch' })
  for (const row of [0, 31])
    assert.deepEqual([at(stretched, row, 2), at(stretched, row, 29)], [60, 220])
  // The middle of three stripes is as wide as the crop.
  const stripes = Uint8Array.from({ length: 64 * 32 }, (_, i) =>
    i % 64 < 16 || i % 64 >= 48 ? 10 : 200,
  )
  const cropped = await decode(await raw(stripes, [32, 64]).png().toBuffer(), [32, 32], {
    resize: 'crop',
  })
  assert.ok(cropped.every((v) => v === 200))
})

test('the size is height, then width; the way up that the file says is kept', async () => {
  const png = await raw(GREY, [16, 16]).png().toBuffer()
  assert.equal((await decode(png, [20, 40])).length, 800)
  const tall = await decode(png, [32, 16])
  assert.ok(tall.subarray(0, 8 * 16).every((v) => v === 0))
  // EXIF orientation 3: upside down.
  const turned = await raw(GREY, [16, 16])
    .jpeg({ quality: 100 })
    .withMetadata({ orientation: 3 })
    .toBuffer()
  near(await decode(turned, [16, 16]), GREY.slice().reverse(), 3)
})

test('a file that ends early, or is no image, is refused', async () => {
  const noise = Uint8Array.from({ length: 64 * 64 }, (_, i) => (i * 7919) % 251)
  const image = raw(noise, [64, 64])
  const files = {
    png: await image.clone().png().toBuffer(),
    jpeg: await image.clone().jpeg().toBuffer(),
    tiff: await image.clone().tiff({ compression: 'lzw' }).toBuffer(),
  }
  for (const [name, file] of Object.entries(files)) {
    await decode(file, [64, 64])
    for (const share of [0.1, 0.5, 0.9]) {
      const cut = file.subarray(0, Math.floor(file.length * share))
      await assert.rejects(decode(cut, [64, 64]), Error, `${name}, ${share} of it`)
    }
  }
  await assert.rejects(decode(new Uint8Array(0), [16, 16]))
  await assert.rejects(decode(new TextEncoder().encode('a,b\n1,2\n'), [16, 16]))
})

test('a header that promises too many pixels is refused before they are made', async () => {
  const bomb = pngHeader(40_000, 40_000)
  await assert.rejects(decode(bomb, [16, 16]), /pixel limit/)
})

const thrice = (grey: Uint8Array): Uint8Array =>
  Uint8Array.from({ length: grey.length * 3 }, (_, i) => grey[Math.floor(i / 3)]!)

/** A PNG of a few bytes that says how large it is. */
function pngHeader(width: number, height: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
    const framed = Buffer.alloc(body.length + 8)
    framed.writeUInt32BE(data.length, 0)
    body.copy(framed, 4)
    framed.writeUInt32BE(crc32(body), body.length + 4)
    return framed
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 0, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', new Uint8Array(20)),
    chunk('IEND', new Uint8Array(0)),
  ])
}
