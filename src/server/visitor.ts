/**
 * Who is answered where no token is asked for, which is on loopback alone: programs of this machine,
 * and no pages of the web.
 *
 * A page may have its own name resolve to 127.0.0.1 (DNS rebinding). To the browser it is then of the
 * same origin as this server, and may ask and read anything; but its name stands in `Host`, which no
 * page can change. A page of another origin gives itself away by `Origin`, which a browser sends with
 * all that could change something, and reads no answer, since none allows it. `X-Forwarded-Host`
 * and the like are what anybody likes to write, and are not looked at.
 *
 * Invariant: only what names this machine by `localhost` or an address of loopback is answered, in
 * each place where a request can name it, and whatever the path.
 */
import { isIPv6 } from 'node:net';

export interface Visitor {
  /** All values of these headers; none from HTTP/1.0 without, which no browser speaks. */
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
  /** As the first line has it: a path, or a whole URL, which is what counts then. */
  readonly target: string;
}

export interface Refusal {
  /** 421: the name is not one of this server; 403: it is, and who asks is refused. */
  readonly status: 403 | 421;
  readonly message: string;
}

const loopback = ['localhost', '127.0.0.1', '[::1]'];

/** Why a request is not answered; undefined where it is. `listening`: where this server listens. */
export function refusalOf(
  { hosts, origins, target }: Visitor,
  listening: string,
): Refusal | undefined {
  const known = [...loopback, isIPv6(listening) ? `[${listening}]` : listening];
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;
  const named = target.startsWith('/') ? [] : (authority.exec(target)?.slice(1) ?? []);
  const stranger = [...named, ...hosts].find((host) => !isKnown(host, known));
  if (stranger !== undefined) {
    return { status: 421, message: `"${stranger}" is not a name of this server` };
  }
  const foreign = origins.find((origin) => {
    const [, host] = /^https?:\/\/(.*)$/i.exec(origin) ?? [];
    return host === undefined || !isKnown(host, known);
  });
  if (foreign !== undefined) {
    return { status: 403, message: `pages of origin "${foreign}" are not answered` };
  }
  return undefined;
}

/** With any port, or none: it may have been forwarded. */
const isKnown = (host: string, known: readonly string[]): boolean =>
  known.includes(host.toLowerCase().replace(/:\d{1,5}$/, ''));
