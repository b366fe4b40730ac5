/**
 * Audits the mmap handlers of VFIO drivers in a kernel tree: whether they keep the region coding in `vm_pgoff`, stay
 * inside their regions, and can be zapped. `vfio audit` on the command line.
 */
export {
  type Audit,
  type AuditOptions,
  type AuditReport,
  audit,
  type ConsumerReport,
  type Coverage,
  type HandlerReport,
} from './audit.ts';
export type { Edit, Fix } from './fix.ts';
export type { Role } from './handlers.ts';
export { type Finding, RULES, type Rule, type Severity } from './rules.ts';
export { toSarif } from './sarif.ts';
export type { Place } from './tokens.ts';
export { patchOf } from './unified-diff.ts';
export type { Bounds, MappingTime } from './verdict.ts';
