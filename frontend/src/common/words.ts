/** The words of the page, in its language. The server puts those a page needs into it; see `launcher/web/words.py`. */
import type words from "../../../launcher/web/words/en.json";
import { pageData } from "./page";

type Words = typeof words;
/** Every known key, such as `launch.button`: an unknown one does not compile. */
export type WordKey = { [Group in keyof Words & string]: `${Group}.${keyof Words[Group] & string}` }[keyof Words & string];
type Entry = string | Partial<Record<Intl.LDMLPluralRule, string>>;

let known: Record<string, Record<string, Entry>> | undefined;
let language: string | undefined;
const plurals = new Map<string, Intl.PluralRules>();

/** The text of a key with its `{names}` filled in; `count` also chooses the plural form. */
export function t(key: WordKey, values: Readonly<Record<string, string | number>> = {}): string {
  known ??= pageData<Record<string, Record<string, Entry>>>("words") ?? {};
  const [group = "", name = ""] = key.split(".", 2);
  const entry = known[group]?.[name];
  if (entry === undefined) return key;
  const text = typeof entry === "string" ? entry : (entry[pluralForm(Number(values.count))] ?? entry.other ?? key);
  return text.replace(/\{(\w+)\}/g, (whole, word: string) => {
    const value = values[word];
    return typeof value === "number" ? value.toLocaleString(pageLanguage()) : (value ?? whole);
  });
}

/** What the code of a failure means, in the page's language; "" for an unknown one, and on English pages. */
export function meaning(code: string): string {
  known ??= pageData<Record<string, Record<string, Entry>>>("words") ?? {};
  const entry = known.codes?.[code];
  return typeof entry === "string" ? entry : "";
}

/** Whether sentences that nobody translates, the server's about what went wrong and the Hub's, are in the page's language. */
export function isEnglish(): boolean {
  return pageLanguage().split("-")[0] === "en";
}

/** The language of the page, for `Intl`. */
export function pageLanguage(): string {
  language ??= document.documentElement.lang || "en";
  return language;
}

function pluralForm(count: number): Intl.LDMLPluralRule {
  const name = pageLanguage();
  let rules = plurals.get(name);
  if (rules === undefined) plurals.set(name, (rules = new Intl.PluralRules(name)));
  return rules.select(count);
}
