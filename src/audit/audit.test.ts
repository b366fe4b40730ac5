/*
 * Small drivers of a few lines, one question each. The corpus of test/audit has whole ones.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Audit, type AuditOptions, audit, type HandlerReport, RULES, toSarif } from './index.ts';

const scratch = mkdtempSync(join(tmpdir(), 'vfio-audit-unit-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const PROLOGUE = `
	unsigned long index = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	u64 page = vma->vm_pgoff & ((1U << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	u64 length = vma->vm_end - vma->vm_start;
	unsigned long saved = vma->vm_pgoff, pfn = dev->pfn + page;
	int ret;
	if (!(vma->vm_flags & VM_SHARED) || (page << PAGE_SHIFT) + length > dev->sizes[index])
		return -EINVAL;
`;

/** A driver whose handler is the prologue and `body`, after `before`. */
const driver = (body: string, before: string = ''): string => `
struct dev { unsigned long pfn; u64 sizes[6]; };
${before}
static int handler(struct vfio_device *core, struct vm_area_struct *vma)
{
	struct dev *dev = to_dev(core);
${PROLOGUE}${body}
}
static const struct vfio_device_ops ops = { .mmap = handler };
`;

let folders = 0;
async function auditText(text: string, options: Partial<AuditOptions> = {}): Promise<Audit> {
  const folder = join(scratch, String(folders++));
  mkdirSync(folder);
  writeFileSync(join(folder, 'driver.c'), text);
  return audit({ paths: [folder], ...options });
}
const judge = async (text: string): Promise<HandlerReport> => (await auditText(text)).report.handlers[0]!;

const REMAP = 'remap_pfn_range(vma, vma->vm_start, pfn, length, vma->vm_page_prot)';
const OVERWRITE = `	vma->vm_pgoff = pfn;\n	return ${REMAP};`;

describe('coding', () => {
  test.each([
    ['untouched', `return ${REMAP};`, 'kept'],
    ['overwritten', OVERWRITE, 'pfn'],
    ['restored', `vma->vm_pgoff = pfn; ret = ${REMAP}; vma->vm_pgoff = saved; return ret;`, 'kept'],
    [
      'restored only after a failure',
      `vma->vm_pgoff = pfn; ret = ${REMAP}; if (ret) vma->vm_pgoff = saved; return ret;`,
      'pfn',
    ],
    [
      'written after a failure',
      `ret = ${REMAP}; if (ret) { vma->vm_pgoff = pfn; return ret; } return 0;`,
      'kept',
    ],
    [
      'written on the way to an error',
      `ret = -EIO; if (dev->pfn) goto out; return ${REMAP}; out: vma->vm_pgoff = pfn; return ret;`,
      'kept',
    ],
    [
      'written behind a label that success reaches',
      `ret = ${REMAP}; if (ret) goto out; out: vma->vm_pgoff = pfn; return ret;`,
      'pfn',
    ],
    ['in a loop', `while (more(dev)) vma->vm_pgoff = pfn; return ${REMAP};`, 'pfn'],
    [
      'in a case',
      `switch (index) { case 2: vma->vm_pgoff = pfn; break; default: break; } return ${REMAP};`,
      'pfn',
    ],
    [
      'under a condition that undoes it',
      `if (dev->pfn) vma->vm_pgoff = pfn; ret = ${REMAP}; if (dev->pfn) vma->vm_pgoff = saved; return ret;`,
      'kept',
    ],
    ['a pointer to the field', `{ unsigned long *p = &vma->vm_pgoff; *p = pfn; } return ${REMAP};`, 'pfn'],
    [
      'coded again',
      `vma->vm_pgoff = (index << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) | page; return ${REMAP};`,
      'kept',
    ],
    ['zero', `vma->vm_pgoff = 0; return ${REMAP};`, 'own'],
  ])('%s', async (_name, body, coding) => {
    expect((await judge(driver(body))).coding).toBe(coding);
  });

  test('a write two calls below, and its place', async () => {
    const helpers = `
static void last(struct vm_area_struct *area, unsigned long pfn) { area->vm_pgoff = pfn; }
static void next(struct vm_area_struct *area, unsigned long pfn) { if (pfn) last(area, pfn); }
`;
    const handler = await judge(driver(`next(vma, pfn); return ${REMAP};`, helpers));
    expect(handler).toMatchObject({ coding: 'pfn', codingAt: { file: 'driver.c', line: 4 } });
  });

  test('functions that call each other for ever', async () => {
    const helpers = `
static void b(struct vm_area_struct *vma);
static void a(struct vm_area_struct *vma) { b(vma); }
static void b(struct vm_area_struct *vma) { a(vma); again: if (more()) goto again; }
`;
    expect((await judge(driver(`a(vma); return ${REMAP};`, helpers))).coding).toBe('kept');
  });

  test('more decisions than paths can be followed: the write is seen all the same', async () => {
    const decisions = Array.from({ length: 40 }, (_, i) => `if (dev->flag${i}) ret = ${i};`).join('\n');
    const handler = await judge(driver(`ret = 0; ${decisions}\nvma->vm_pgoff = pfn;\nreturn ${REMAP};`));
    expect(handler).toMatchObject({ coding: 'pfn', bounds: { size: true, shared: true } });
  });
});

test('helpers that branch at every call: the audit ends, and says that it did not follow everything', async () => {
  const helpers = Array.from(
    { length: 9 },
    (_, i) => `static int h${i}(struct vm_area_struct *vma, int a) {
  ${Array.from({ length: 8 }, (_, j) => `if (dev->f${i}_${j}) vma->vm_private_data = h${i - 1 < 0 ? 'x' : i - 1}(vma, ${j});`).join('\n')}
  return a; }`,
  ).join('\n');
  const { report } = await auditText(driver(`h8(vma, 1); return ${REMAP};`, helpers));
  expect(report.handlers[0]).toMatchObject({ coding: 'kept', complete: false });
}, 60_000);

test('a handler that is nested too deeply is no clean handler', async () => {
  const deep = `${'{'.repeat(3000)} vma->vm_pgoff = pfn; ${'}'.repeat(3000)} return ${REMAP};`;
  const { report } = await auditText(driver(deep));
  expect(report.handlers[0]!.complete).toBe(false);
  expect(report.coverage.failed.map((one) => one.function)).toEqual(['handler']);
});

test('a tree of links is a tree', async () => {
  const folder = join(scratch, 'links');
  mkdirSync(folder);
  writeFileSync(join(scratch, 'target.c'), driver(OVERWRITE));
  symlinkSync(join(scratch, 'target.c'), join(folder, 'driver.c'));
  symlinkSync(folder, join(folder, 'circle'));
  expect((await audit({ paths: [folder] })).report.findings).toHaveLength(1);
});

describe('what a user can ask for', () => {
  test('rules', async () => {
    const text = driver(OVERWRITE).replace('!(vma->vm_flags & VM_SHARED) ||', '');
    const rules = (result: Audit): string[] => result.report.findings.map(({ rule }) => rule).toSorted();
    expect(rules(await auditText(text))).toEqual(['bounds-shared-unchecked', 'pgoff-overwritten']);
    expect(rules(await auditText(text, { rules: ['pgoff-overwritten'] }))).toEqual(['pgoff-overwritten']);
  });

  test('a comment takes a finding of its rule out, and no other', async () => {
    const ignoring = (rule: string): string =>
      driver(
        OVERWRITE.replace('\tvma->vm_pgoff', `\t/* vfio-audit: ignore ${rule} -- why */\n\tvma->vm_pgoff`),
      );
    const good = (await auditText(ignoring('pgoff-overwritten'))).report;
    expect([good.findings, good.suppressed]).toEqual([[], 1]);
    expect((await auditText(ignoring('bounds-overflow'))).report.findings).toHaveLength(1);
  });

  test('a baseline, also after lines have moved', async () => {
    const { report } = await auditText(driver(OVERWRITE));
    const baseline = join(scratch, 'known.json');
    writeFileSync(baseline, JSON.stringify(report));
    const moved = await auditText(`\n\n\n${driver(OVERWRITE)}`, { baseline });
    expect([moved.report.findings, moved.report.suppressed]).toEqual([[], 1]);
    writeFileSync(baseline, 'no json');
    await expect(auditText('', { baseline })).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(auditText('', { baseline: join(scratch, 'none') })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  test('a path that is not there', async () => {
    await expect(audit({ paths: [join(scratch, 'nowhere')] })).rejects.toMatchObject({ code: 'ENOENT' });
    mkdirSync(join(scratch, 'empty'));
    await expect(audit({ paths: [join(scratch, 'empty')] })).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('a range of commits: handlers that it touches, directly or in a helper', async () => {
    const folder = join(scratch, 'repository');
    mkdirSync(folder);
    const git = (...args: string[]): string =>
      execFileSync('git', ['-C', folder, '-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
        encoding: 'utf8',
      });
    const other = driver(OVERWRITE).replaceAll('handler', 'other');
    const helper = (pfn: string): string =>
      `int set(struct vm_area_struct *vma, unsigned long pfn)\n{\n${pfn}\n\treturn 0;\n}\n`;
    const main = driver(
      `set(vma, pfn); return ${REMAP};`,
      'int set(struct vm_area_struct *vma, unsigned long pfn);',
    );
    writeFileSync(join(folder, 'other.c'), other);
    writeFileSync(join(folder, 'main.c'), main);
    writeFileSync(join(folder, 'helper.c'), helper(''));
    git('init', '-q');
    git('add', '.');
    git('commit', '-qm', 'first');
    const since = async (revision: string): Promise<string[]> =>
      (await audit({ paths: [folder], since: revision })).report.handlers.map((one) => one.function);
    expect(await since('HEAD')).toEqual([]);
    writeFileSync(join(folder, 'helper.c'), helper('\tvma->vm_pgoff = pfn;'));
    expect(await since('HEAD')).toEqual(['handler']);
    git('commit', '-qam', 'second');
    expect(await since('HEAD')).toEqual([]);
    expect(await since('HEAD~1..HEAD')).toEqual(['handler']);
    await expect(since('no-such-revision')).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(since('--output=/tmp/x')).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

describe('reports', () => {
  test('a finding covers the statement, in columns from 1', async () => {
    const { report, texts } = await auditText(driver(OVERWRITE));
    const [finding] = report.findings;
    const line = texts.get('driver.c')!.split('\n')[finding!.line - 1]!;
    expect(line.slice(finding!.column - 1, finding!.endColumn - 1)).toBe('vma->vm_pgoff = pfn');
  });

  test('SARIF has what the standard requires of a result', async () => {
    const { report } = await auditText(driver(OVERWRITE));
    const log = toSarif(report, '1.2.3') as { version: string; runs: Record<string, never>[] };
    expect(log.version).toBe('2.1.0');
    const [run] = log.runs as unknown as [
      {
        tool: { driver: { rules: { id: string }[] } };
        results: { ruleId: string; ruleIndex: number; level: string }[];
      },
    ];
    expect(run.tool.driver.rules.map(({ id }) => id)).toEqual(RULES.map(({ name }) => name));
    expect(run.results).toHaveLength(1);
    const [result] = run.results;
    expect(run.tool.driver.rules[result!.ruleIndex]!.id).toBe(result!.ruleId);
    expect(['error', 'warning', 'note']).toContain(result!.level);
  });
});

describe('files that are no drivers', () => {
  test.each([
    ['nothing', ''],
    ['no C at all', 'vfio_device_ops }}} ((( #if #else "'],
    [
      'a handler that is declared and never defined',
      'static const struct vfio_device_ops o = { .mmap = gone };',
    ],
    [
      'deep brackets',
      `static const struct vfio_device_ops o = { .mmap = ${'('.repeat(2000)}h${')'.repeat(2000)} };`,
    ],
    ['a deep expression', driver(`pfn = ${'('.repeat(900)}pfn${')'.repeat(900)}; return ${REMAP};`)],
  ])('%s', async (_name, text) => {
    const { report } = await auditText(text);
    expect(report.findings).toEqual([]);
  });
});
