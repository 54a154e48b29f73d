import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadline } from '../../src/delivery/deadline.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const after = (milliseconds: number) => performance.now() + milliseconds;
const waiter = () => ({ onDeadline: vi.fn() });

test('what was set last counts, be it earlier or later', () => {
  const deadline = new Deadline();
  const [first, later, earlier] = [waiter(), waiter(), waiter()];
  deadline.set(after(100), first);
  vi.advanceTimersByTime(50);
  deadline.set(after(100), later);
  vi.advanceTimersByTime(98);
  expect(later.onDeadline).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2);
  expect(later.onDeadline).toHaveBeenCalledOnce();
  deadline.set(after(1_000), later);
  deadline.set(after(10), earlier);
  vi.advanceTimersByTime(10);
  expect(earlier.onDeadline).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(2_000);
  expect(earlier.onDeadline).toHaveBeenCalledOnce();
  expect(later.onDeadline).toHaveBeenCalledOnce();
  expect(first.onDeadline).not.toHaveBeenCalled();
});

test('one that was called off never comes, and can be set again', () => {
  const deadline = new Deadline();
  const [one, other] = [waiter(), waiter()];
  deadline.set(after(100), one);
  deadline.callOff();
  vi.advanceTimersByTime(90);
  deadline.set(after(100), other);
  vi.advanceTimersByTime(98);
  expect(other.onDeadline).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2);
  expect(other.onDeadline).toHaveBeenCalledOnce();
  expect(one.onDeadline).not.toHaveBeenCalled();
});
