// Formats numbers and times in the browser's language.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const cents = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", minimumSignificantDigits: 2, maximumSignificantDigits: 2 });
const moment = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const hour = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const midnight = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });

/** US dollars; amounts below a cent with two significant digits. */
export const usd = (amount) => (amount === 0 || Math.abs(amount) >= 0.01 ? dollars : cents).format(amount);
/** US dollars on an axis whose marks are `step` apart. */
export const usdMark = (amount, step) => `$${amount.toFixed(step < 1 ? Math.max(2, -Math.floor(Math.log10(step))) : 0)}`;
export const count = (number) => (Math.abs(number) < 100_000 ? whole : short).format(number);
export const time = (iso) => moment.format(new Date(iso));
export const bucketName = (date, bucket) => (bucket === "day" ? `${day.format(date)} (UTC)` : hour.format(date));
/** A time on an axis; midnight is shown as the date. */
export function timeMark(date, bucket) {
  if (bucket === "day") return day.format(date);
  return (date.getHours() || date.getMinutes() ? minute : midnight).format(date);
}
export const clock = (date) => date.toLocaleTimeString();

/** The approximate time until a moment. */
export function until(iso) {
  const minutes = Math.max(0, Math.round((new Date(iso) - Date.now()) / 60_000));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h`;
  return `${Math.round(minutes / 1440)} days`;
}

/** A duration in seconds; short ones are shown in milliseconds. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return "< 1 ms";
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

const LENGTHS = { "1h": "hour", "1d": "day", "7d": "week", "30d": "month", "1mo": "month" };

/** "a day", "each 3h"; empty for a budget that never resets. */
export const each = (length) => (length ? ` a ${LENGTHS[length] ?? length}`.replace("a hour", "an hour") : " in total");
