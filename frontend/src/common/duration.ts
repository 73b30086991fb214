import { pageLanguage } from "./words";

const MINUTE = 60;
const HOUR = 3600;

/** How long something takes, short: `12s`, `3m 5s`, `1h 20m`, as the page's language writes it. */
export function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < MINUTE) return unit(whole, "second");
  if (whole < HOUR) return `${unit(Math.floor(whole / MINUTE), "minute")} ${unit(whole % MINUTE, "second")}`;
  return `${unit(Math.floor(whole / HOUR), "hour")} ${unit(Math.floor((whole % HOUR) / MINUTE), "minute")}`;
}

function unit(value: number, name: string): string {
  return new Intl.NumberFormat(pageLanguage(), { style: "unit", unit: name, unitDisplay: "narrow" }).format(value);
}
