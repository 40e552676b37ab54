/**
 * A repository on this machine: its folder, configuration, lock, stage and work tree.
 * Not its concern: how bytes are kept (store), what a version is (history), other machines (sync).
 */
export { type AddReport, stageFiles } from './add.ts'
export { beginCheckout, type CheckoutAhead, checkoutCommit, describeCheckout } from './checkout.ts'
export { gitThere } from './git-around.ts'
export { hashFile } from './hash.ts'
export { commitStage } from './commit.ts'
export { initRepository, openRepository } from './open.ts'
export { computeStatus } from './status.ts'
export { checkRepository } from './fsck.ts'
export { restorePaths, unstagePaths } from './remove.ts'
