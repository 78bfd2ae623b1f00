// What is shown of states, numbers and events, in words.

const STATES = {
  connecting: ["Connecting", "warn"],
  live: ["Live", "good"],
  stalled: ["No frames", "warn"],
  backing_off: ["Reconnecting", "warn"],
  failed: ["Failed", "bad"],
  ended: ["Ended", "calm"],
};

export const isInTrouble = (source) => source.state !== "live";

/** [word, tone] of a source's state. */
export function stateOf(source) {
  if (source.state === "live" && source.is_live === false) return ["Playing", "good"];
  return STATES[source.state] || [source.state, "calm"];
}

/** Why a source gives no pictures. */
export function reasonOf(source) {
  if (source.error) return source.error;
  const tries = source.counters.reconnects || 0;
  return {
    connecting: tries ? "The connection was lost." : "The address is being opened.",
    stalled: "The stream is open, but no frames come.",
    backing_off: "The connection was lost.",
    failed: "It ended with an error.",
    ended: "The footage has come to its end.",
  }[source.state] || "";
}

/** What happens next, by itself or by a click. */
export function nextOf(source) {
  const tries = source.counters.reconnects || 0;
  const count = tries ? ` Reconnected ${tries} ${tries === 1 ? "time" : "times"} so far.` : "";
  return {
    connecting: `The view begins with the first frame.${count}`,
    stalled: `It reconnects by itself if this lasts.${count}`,
    backing_off: `It tries again by itself, a little later each time.${count}`,
    failed: "It stays off until you restart it.",
    ended: "Restart plays it again from its beginning.",
  }[source.state] || "";
}

export function number(value) {
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function latency(source) {
  if (!source.emitted) return "–";
  return `${number(source.latency_p50_ms)} / ${number(source.latency_p95_ms)} ms`;
}

/** Share of the accuracy (AP50) that latency takes. */
export function lost(source) {
  return source.ap50_lost === null ? "–" : `${number(100 * source.ap50_lost)} %`;
}

/** Seconds in as few signs as tell enough. */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** How bad it is that the newest picture is so old. */
export function ageTone(source, age) {
  if (age === null || source.state === "ended" || source.state === "failed") return "";
  if (age > 10) return "bad";
  return age > 2 ? "warn" : "";
}

const KINDS = {
  crossing: "Crossed", visit: "Visit", loitering: "Loitering", crowding: "Crowded", empty: "Empty",
  speeding: "Speeding", wrong_way: "Wrong way", stopped: "Stopped", sudden_stop: "Sudden stop",
};

export const ALARMS = new Set(["loitering", "crowding", "empty", "speeding", "wrong_way", "stopped", "sudden_stop"]);

/** [title, what else there is to say] of an event. */
export function eventText(event) {
  const values = event.values;
  const who = event.class_name || "";
  const ids = event.track_ids.slice(0, 3).map((id) => `#${id}`).join(" ");
  const details = [`${who} ${ids}`.trim()];
  if (event.kind === "crossing") details.push(String(values.label || values.direction || ""));
  if (event.kind === "crowding") details.push(`up to ${values.peak}`);
  if (values.unit && values.peak !== undefined) details.push(`${number(values.peak)} ${values.unit}`);
  if (event.end_s !== null && event.end_s > event.start_s) details.push(duration(event.end_s - event.start_s));
  if (event.phase === "begin") details.push("going on");
  return [`${KINDS[event.kind] || event.kind}: ${event.rule}`, details.filter(Boolean).join(" · ")];
}

/** When an event began: the time of day for what is seen now, the time in the footage for a recording. */
export function eventTime(event, isLive) {
  if (isLive !== false) {
    const day = new Date(event.wall_s * 1000);
    return day.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  }
  const seconds = Math.max(Math.round(event.start_s), 0);
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
}
