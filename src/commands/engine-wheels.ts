/** A wheel of PyPI, pinned: pip refuses any other bytes. */
export interface Wheel {
  readonly name: string
  readonly version: string
  readonly sha256: string
  readonly bytes: number
}

/** tfjs's binding: the last release, 4.22.0 of 2024-10. */
export const TFJS_VERSION = '4.22.0'
/** The TensorFlow inside the stock package. */
export const STOCK_TENSORFLOW = '2.9.1'
/** The newest whose libraries export all 50 C functions that the binding calls (2.21.0 hides 37). */
export const WHEEL_TENSORFLOW = '2.20.0'

export const CPU_WHEEL: Wheel = {
  name: 'tensorflow-cpu',
  version: WHEEL_TENSORFLOW,
  sha256: 'cf756bbe2d256e942ab5d0ad2c858fb40017581494febdb4387c149b1afde780',
  bytes: 258_876_263,
}

export const CUDA_WHEEL: Wheel = {
  name: 'tensorflow',
  version: WHEEL_TENSORFLOW,
  sha256: '481499fd0f824583de8945be61d5e827898cdaa4f5ea1bc2cc28ca2ccff8229e',
  bytes: 620_570_129,
}

const nvidia = (name: string, version: string, sha256: string, bytes: number): Wheel => ({
  name: `nvidia-${name}-cu12`,
  version,
  sha256,
  bytes,
})

/** What the `and-cuda` extra of tensorflow 2.20.0 resolves to (2026-11): CUDA 12.9, cuDNN 9. */
export const NVIDIA_WHEELS: readonly Wheel[] = [
  nvidia(
    'cublas',
    '12.9.3.13',
    'd7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72',
    581_217_458,
  ),
  nvidia(
    'cuda-cupti',
    '12.8.90',
    'ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182',
    10_248_621,
  ),
  nvidia(
    'cuda-nvcc',
    '12.9.86',
    '5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0',
    40_546_229,
  ),
  nvidia(
    'cuda-nvrtc',
    '12.9.86',
    '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4',
    89_568_129,
  ),
  nvidia(
    'cuda-runtime',
    '12.9.79',
    '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3',
    3_493_179,
  ),
  nvidia(
    'cudnn',
    '9.28.0.42',
    '9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375',
    716_538_495,
  ),
  nvidia(
    'cufft',
    '11.4.1.4',
    'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28',
    200_877_592,
  ),
  nvidia(
    'curand',
    '10.3.10.19',
    '49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e',
    68_295_626,
  ),
  nvidia(
    'cusolver',
    '11.7.5.82',
    '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88',
    338_117_415,
  ),
  nvidia(
    'cusparse',
    '12.5.10.65',
    '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78',
    366_465_088,
  ),
  nvidia(
    'nccl',
    '2.32.3',
    'bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c',
    351_526_311,
  ),
  nvidia(
    'nvjitlink',
    '12.9.86',
    'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9',
    39_748_338,
  ),
]

/** The wheels are fetched for this Python whatever Python runs pip: only their libraries are used. */
export const PIP_TARGET: readonly string[] = [
  '--no-deps',
  '--only-binary=:all:',
  '--implementation=cp',
  '--python-version=3.11',
  '--abi=cp311',
  '--abi=none',
  '--platform=manylinux_2_27_x86_64',
  '--platform=manylinux_2_17_x86_64',
  '--platform=manylinux2014_x86_64',
  '--platform=manylinux_2_12_x86_64',
  '--platform=manylinux2010_x86_64',
]

/** One requirement with its hash, for `pip download --require-hashes -r`. */
export const requirement = ({ name, version, sha256 }: Wheel): string =>
  `${name}==${version} --hash=sha256:${sha256}\n`

/**
 * Takes out of a wheel what the binding needs: libraries and the C headers, or a CUDA library's files.
 * A Python program, because pip is needed anyway and Node has no unzip. It reads the wheel as a stream,
 * refuses names that leave the folder, and prints the bytes written after every file.
 */
export const UNPACK_PROGRAM = `
import os, shutil, sys, zipfile
wheel, target, kind = sys.argv[1:4]
HEADERS = ('tensorflow/include/tensorflow/c/', 'tensorflow/include/tensorflow/core/platform/',
           'tensorflow/include/xla/tsl/', 'tensorflow/include/tsl/')
LIBRARIES = ('tensorflow/libtensorflow_cc.so.2', 'tensorflow/libtensorflow_framework.so.2')
def place(name):
    if kind == 'nvidia':
        return name if name.startswith('nvidia/') and ('/lib/' in name or '/bin/' in name or '/nvvm/' in name) else None
    if name in LIBRARIES:
        return 'lib/' + os.path.basename(name)
    if name.startswith(HEADERS) and name.endswith('.h'):
        return 'include/' + name[len('tensorflow/include/'):]
    return None
root = os.path.realpath(target)
with zipfile.ZipFile(wheel) as archive:
    todo = [(i, place(i.filename)) for i in archive.infolist() if not i.is_dir()]
    todo = [(i, to) for i, to in todo if to]
    print('total', sum(i.file_size for i, _ in todo), flush=True)
    for info, to in todo:
        path = os.path.realpath(os.path.join(root, to))
        if not path.startswith(root + os.sep):
            sys.exit('the wheel holds a path outside its folder: ' + info.filename)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(info) as source, open(path, 'wb') as out:
            left = info.file_size
            while left > 0:
                part = source.read(min(left, 8 << 20))
                if not part:
                    sys.exit('the wheel is cut short at ' + info.filename)
                out.write(part)
                left -= len(part)
                print('wrote', len(part), flush=True)
        if '/bin/' in to:
            os.chmod(path, 0o755)
`
