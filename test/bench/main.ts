/** `npm run bench -- add|train [options]`: side by side with peers in one run; ratios, not absolute claims. */
import { benchAdd } from './add.ts'
import { benchTrain } from './train.ts'

const HELP = `usage: npm run bench -- <what> [options]

  add     add, unchanged status, commit, push, clone against cp -r, git-lfs, restic and DVC
            --set A|B        A: 5,000 files of 400 KB; B: 112,120 files of 2 KB (default: both)
            --peers LIST     of cp,git-lfs,restic,dvc (default: all that can be had)
            --rounds N       rounds of all tools in turn; medians are told (default 1)
            --scale F        share of the files, for a quick look (default 1)
            --keep           leave the folder
          CXV_BENCH_DIR names the folder to work in (default: the system's temporary folder)
  train   images per second of the training step: wasm, tensorflow where it is set up, PyTorch
            --steps N        steps measured for each (default 20)

Results are printed and written to docs/bench/.`

const [what, ...args] = process.argv.slice(2)
if (what === 'add') process.exitCode = await benchAdd(args)
else if (what === 'train') process.exitCode = await benchTrain(args)
else {
  process.stdout.write(`${HELP}\n`)
  process.exitCode = what === undefined || what === '--help' ? 0 : 2
}
