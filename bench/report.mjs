/*
 * The table of a bench run.
 */

function held(row) {
  const { goal } = row;
  if (!goal) return '';
  if (goal.ratioAtMost !== undefined)
    return `${row.ratio <= goal.ratioAtMost ? 'met' : 'MISSED'} <= ${goal.ratioAtMost} x`;
  if (goal.ratioAtLeast !== undefined)
    return `${row.ratio >= goal.ratioAtLeast ? 'met' : 'MISSED'} >= ${goal.ratioAtLeast} x`;
  if (goal.valueAtMost !== undefined)
    return `${row.value <= goal.valueAtMost ? 'met' : 'MISSED'} <= ${goal.valueAtMost} ${row.unit}`;
  return `${row.value >= goal.valueAtLeast ? 'met' : 'MISSED'} >= ${goal.valueAtLeast} ${row.unit}`;
}

const number = (value) => (value >= 1000 ? Math.round(value).toString() : value.toPrecision(3));

/** Prints one line a figure: value, floor, ratio to the floor and the goal, where there are any. */
export function printTable(rows) {
  const lines = rows.map((row) => [
    row.name,
    `${number(row.value)} ${row.unit}`,
    row.floor === undefined
      ? ''
      : `${number(row.floor)} ${row.unit}${row.floorName ? ` (${row.floorName})` : ''}`,
    row.ratio === undefined ? '' : `${row.ratio.toFixed(2)} x`,
    held(row),
  ]);
  const head = ['figure', 'value', 'floor', 'ratio', 'goal'];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...lines.map((line) => line[column].length)),
  );
  for (const line of [head, ...lines])
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    );
}
