// node look.mjs CHROMIUM OUT PAGE…: pictures of pages in OUT, and what axe-core says of them. See look.sh.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, out, ...pages] = process.argv.slice(2);
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const widths = [["wide", 1200, 900], ["phone", 390, 844]];
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
let wrong = 0;
const say = (text) => {
    wrong += 1;
    console.log(`WRONG ${text}`);
};

/** Shown as it is without a script; the checker needs one, so it gets a page of its own, whose policy is not kept. */
async function look(file, name, [title, width, height], colorScheme, isChecked) {
    const context = await browser.newContext({
        viewport: { width, height }, colorScheme, deviceScaleFactor: width < 500 ? 2 : 1, bypassCSP: isChecked,
        javaScriptEnabled: isChecked,
    });
    const page = await context.newPage();
    page.on("request", (request) => request.url().startsWith("file:") || say(`${name} asks for ${request.url()}`));
    await page.goto(pathToFileURL(path.resolve(file)).href);
    const shown = `${name}-${title}-${colorScheme}`;
    if (!isChecked) {
        await page.screenshot({ path: `${out}/${shown}.png`, fullPage: true });
    } else {
        for (const open of [false, true]) {
            await page.evaluate((open) => document.querySelectorAll("details").forEach((it) => (it.open = open)), open);
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            if (wide > 0) say(`${shown} is ${wide} pixels wider than the window (details open: ${open})`);
            await page.evaluate(axe);
            const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
            const found = await page.evaluate((values) => globalThis.axe.run({ runOnly: { type: "tag", values } }), tags);
            for (const { id, help, nodes } of found.violations) {
                say(`${shown} (details open: ${open}): ${id}: ${help}: ${nodes.map((it) => it.target.join(" ")).join("; ")}`);
            }
            for (const { id, nodes } of found.incomplete) {
                console.log(`${shown} (details open: ${open}): for people to judge: ${id}, ${nodes.length} places`);
            }
            if (open) await page.screenshot({ path: `${out}/${shown}-open.png`, fullPage: true });
        }
    }
    await context.close();
}

for (const file of pages) {
    const name = path.basename(file, ".html");
    for (const width of widths) {
        for (const scheme of ["light", "dark"]) {
            await look(file, name, width, scheme, false);
            await look(file, name, width, scheme, true);
        }
    }
    const context = await browser.newContext({ colorScheme: "dark", javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(pathToFileURL(path.resolve(file)).href);
    await page.pdf({ path: `${out}/${name}.pdf`, format: "A4", margin: { top: "15mm", bottom: "15mm", left: "15mm", right: "15mm" } });
    await context.close();
}
console.log(`${pages.length} pages in ${browser.version()}: ${wrong} wrong`);
await browser.close();
process.exit(wrong ? 1 : 0);
