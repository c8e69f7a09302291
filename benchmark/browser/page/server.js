// Talks with the server of the page.

const RETRY_MS = 2000;

// The server refused a message, and will again.
export class Refused extends Error {}

// It knows no page yet: it was started again.
export class Forgotten extends Error {}

// Posts until the server is reached; `onSilence` is told of each attempt that failed.
export async function post(address, values, onSilence) {
  for (;;) {
    let response, answer;
    try {
      response = await fetch(address, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(values),
      });
      answer = await response.json();
    } catch {
      onSilence();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      continue;
    }
    if (response.ok) return answer;
    if (response.status === 401) throw new Forgotten(answer.error);
    throw new Refused(answer.error);
  }
}

// The number by which the server knows this browser again after the page is reloaded.
export function browserId() {
  const kept = read('id');
  if (/^[0-9a-f]{32}$/.test(kept ?? '')) return kept;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const made = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  try {
    localStorage.setItem('id', made);
  } catch {
    // A private window: reloaded, it is another browser.
  }
  return made;
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
