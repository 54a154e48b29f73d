/** Sends one webhook: a POST whose answer is read to its end, or to a bound. */
import { Agent } from 'undici';

export interface WebhookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** From connecting to the last byte of the answer, in milliseconds. */
  readonly timeoutMs: number;
}

/** The HTTP status of the answer, or why there was none. */
export type Answer = { readonly status: number } | { readonly error: Error };

/** What a URL scheme stands for. `answered` is called exactly once, never before `send` returns. */
export interface Transport {
  send(request: WebhookRequest, answered: (answer: Answer) => void): void;
  close(): Promise<void>;
}

/** An answer longer than this is cut off; its status counts all the same. */
const mostAnswerBytes = 64 * 1024;

export function createHttpTransport(): Transport {
  const agent = new Agent({
    pipelining: 1,
    keepAliveTimeout: 60_000,
    // One deadline for the whole attempt stands in for these.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: 0 },
  });
  return {
    send: (request, answered) => send(agent, request, answered),
    close: () => agent.destroy(),
  };
}

function send(agent: Agent, request: WebhookRequest, answered: (answer: Answer) => void): void {
  let url: URL;
  try {
    url = new URL(request.url);
  } catch (error) {
    queueMicrotask(() => answered({ error: error as Error }));
    return;
  }

  let abort: ((reason: Error) => void) | undefined;
  let status = 0;
  let answerBytes = 0;
  let settled = false;
  const settle = (answer: Answer) => {
    if (settled) return;
    settled = true;
    clearTimeout(deadline);
    answered(answer);
  };
  const deadline = setTimeout(() => {
    const error = new Error(`no complete answer within ${request.timeoutMs} ms`);
    settle({ error });
    abort?.(error);
  }, request.timeoutMs);

  agent.dispatch(
    {
      origin: url.origin,
      path: url.pathname + url.search,
      method: 'POST',
      headers: request.headers,
      body: request.body,
    },
    {
      onRequestStart(controller) {
        abort = (reason) => controller.abort(reason);
        if (settled) abort(new Error('the attempt is over'));
      },
      onResponseStart(_controller, statusCode) {
        status = statusCode;
      },
      onResponseData(controller, chunk) {
        answerBytes += chunk.length;
        if (answerBytes <= mostAnswerBytes) return;
        settle({ status });
        controller.abort(new Error('the answer is too long'));
      },
      onResponseEnd() {
        settle({ status });
      },
      onResponseError(_controller, error) {
        settle({ error });
      },
    },
  );
}
