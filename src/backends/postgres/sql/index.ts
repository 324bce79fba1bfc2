import { findRedriven, isOver, readArtifacts, readBacklog, redriveTask } from './admin.ts'
import { claimTasks, readJournals } from './claim.ts'
import { findCreated, insertTasks } from './create.ts'
import { answerAsks, parkTask, recordStep } from './journal.ts'
import { attendTasks, finishTasks, releaseTasks, renewLeases, retryTask } from './leases.ts'
import { cancelTask, findTask, getTask, readVersions } from './owner.ts'
import { purgeTasks, sweepTasks } from './sweep.ts'

/** All prepared statements, for the tables of a schema (quoted). */
export const statementsOf = (schema: string) => ({
  insertTasks: insertTasks(schema),
  findCreated: findCreated(schema),
  getTask: getTask(schema),
  findTask: findTask(schema),
  readVersions: readVersions(schema),
  claimTasks: claimTasks(schema),
  readJournals: readJournals(schema),
  renewLeases: renewLeases(schema),
  recordStep: recordStep(schema),
  parkTask: parkTask(schema),
  answerAsks: answerAsks(schema),
  finishTasks: finishTasks(schema),
  attendTasks: attendTasks(schema),
  retryTask: retryTask(schema),
  releaseTasks: releaseTasks(schema),
  cancelTask: cancelTask(schema),
  sweepTasks: sweepTasks(schema),
  purgeTasks: purgeTasks(schema),
  readBacklog: readBacklog(schema),
  readArtifacts: readArtifacts(schema),
  isOver: isOver(schema),
  redriveTask: redriveTask(schema),
  findRedriven: findRedriven(schema),
})
