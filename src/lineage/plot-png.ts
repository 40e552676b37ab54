import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/**
 * The picture as PNG, drawn by resvg with the DejaVu fonts of the package: the same on a machine without fonts.
 * @param width pixels, 16 to 8192; the height follows
 */
export async function svgToPng(svg: string, width: number): Promise<Uint8Array> {
  if (!Number.isInteger(width) || width < 16 || width > 8192) {
    throw new RangeError(`a picture is 16 to 8192 pixels wide, not ${width}`)
  }
  const { Resvg } = await import('@resvg/resvg-js')
  const require = createRequire(import.meta.url)
  const fonts = join(dirname(require.resolve('dejavu-fonts-ttf/package.json')), 'ttf')
  const resvg = new Resvg(svg, {
    fitTo: { mode: 'width', value: width },
    font: {
      fontFiles: [join(fonts, 'DejaVuSans.ttf'), join(fonts, 'DejaVuSans-Bold.ttf')],
      loadSystemFonts: false,
      defaultFontFamily: 'DejaVu Sans',
    },
  })
  return new Uint8Array(resvg.render().asPng())
}
