import type { Sharp } from 'sharp'
import type { ImageConfig } from '../format/types.ts'

/** At most this many pixels in one image: a chest film digitised at 0.1 mm has 16 million. */
const MAX_PIXELS = 100_000_000

export type DecodeImage = (bytes: Uint8Array) => Promise<Uint8Array>

/**
 * PNG, JPEG, TIFF, WebP or GIF bytes to [H, W, C] uint8. 16-bit greys are scaled to 8. An alpha channel
 * is dropped, not blended: NIH's RGBA files hold the grey in R = G = B.
 * @throws Error of sharp when the bytes are no whole image, or one of too many pixels
 */
export async function openDecoder(image: ImageConfig): Promise<DecodeImage> {
  const { default: sharp } = await import('sharp')
  sharp.cache(false)
  const [height, width] = image.size
  const fit = { pad: 'contain', stretch: 'fill', crop: 'cover' } as const
  // In one pipeline alpha goes last: the resize would weigh pixels by it and lose transparent ones.
  const withoutAlpha = async (input: Sharp): Promise<Sharp> => {
    const { data, info } = await input
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return sharp(data, { raw: info })
  }
  return async (bytes) => {
    const input = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: 'error', pages: 1 })
    const { hasAlpha } = await input.metadata()
    const upright = input.autoOrient()
    const { data, info } = await (hasAlpha ? await withoutAlpha(upright) : upright)
      .resize(width, height, { fit: fit[image.resize], background: { r: 0, g: 0, b: 0 } })
      .toColourspace(image.channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return withChannels(data, info.channels, image.channels, height * width)
  }
}

/** Some grey images come out with three equal channels, some colour ones with one: make it what was asked. */
function withChannels(data: Uint8Array, has: number, wants: 1 | 3, pixels: number): Uint8Array {
  if (has === wants) return new Uint8Array(data)
  const out = new Uint8Array(pixels * wants)
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < wants; c++) out[i * wants + c] = data[i * has + Math.min(c, has - 1)]!
  }
  return out
}
