/*
 * An endpoint that costs next to nothing: HTTP/1.1 with keep-alive, one thread, epoll.
 *
 *   POST /up…     is answered 204, `delay` ms after its last byte
 *   POST /down…   is answered with `status`, 503 at first; never where that is 0
 *   GET /set?delay=10&status=204&record=1    sets these, and every counter to nought
 *   GET /stats?events=1000                   counters, as soon as so many events were accepted
 *   GET /samples                             recorded latencies of events to /up…, in microseconds
 *
 * A request carries as many events as its header pgstream-event-ids has ids, or else one. A latency
 * is counted from the column "sent", microseconds since the epoch, to the last byte of the request.
 * Times are milliseconds of CLOCK_MONOTONIC. Prints its port once it listens, and ends with its
 * standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { most_connections = 8192, buffer_size = 64 * 1024 };

typedef struct {
  int fd;
  size_t used;     /* bytes in the buffer */
  size_t head;     /* length of the head; 0 before it is complete */
  size_t expected; /* length of the body */
  size_t received; /* bytes of the body so far, also those no longer in the buffer */
  unsigned serial; /* tells apart connections that had the same descriptor */
  char buffer[buffer_size + 1];
} connection;

typedef struct {
  double due;
  int fd;
  unsigned serial;
} answer;

static connection *connections[most_connections];
static unsigned serials;

/* The delay is the same for all, so answers fall due in the order of the requests. */
static answer queue[1 << 16];
static unsigned queue_first, queue_end;

static int delay_ms, down_status = 503, recording;
static unsigned long requests, events, refused;
static double first_at, last_at;
static int *samples;
static size_t sample_count, sample_room;
static int waiter = -1;
static unsigned long waited_for;

static double clock_in(clockid_t clock, double unit) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (now.tv_sec + now.tv_nsec / 1e9) * unit;
}

static double now_ms(void) { return clock_in(CLOCK_MONOTONIC, 1e3); }

static void write_all(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t count = write(fd, text, length);
    if (count < 0 && errno == EAGAIN) {
      poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
    } else if (count <= 0) {
      return;
    } else {
      text += count;
      length -= count;
    }
  }
}

static void answer_status(int fd, int status) {
  char text[64];
  int length = status == 204
      ? snprintf(text, sizeof text, "HTTP/1.1 204 No Content\r\n\r\n")
      : snprintf(text, sizeof text, "HTTP/1.1 %d \r\ncontent-length: 0\r\n\r\n", status);
  write_all(fd, text, length);
}

static void answer_json(int fd, const char *json, size_t length) {
  char head[96];
  int head_length = snprintf(head, sizeof head,
      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", length);
  write_all(fd, head, head_length);
  write_all(fd, json, length);
}

static void answer_stats(int fd) {
  char json[256];
  int length = snprintf(json, sizeof json,
      "{\"requests\":%lu,\"events\":%lu,\"refused\":%lu,\"first\":%.3f,\"last\":%.3f}",
      requests, events, refused, first_at, last_at);
  answer_json(fd, json, length);
}

static void answer_samples(int fd) {
  char *json = malloc(sample_count * 12 + 3), *end = json;
  *end++ = '[';
  for (size_t i = 0; i < sample_count; i++) {
    end += sprintf(end, i == 0 ? "%d" : ",%d", samples[i]);
  }
  *end++ = ']';
  answer_json(fd, json, end - json);
  free(json);
}

/* The number behind `name=`; `otherwise` where it is not given. */
static long parameter(const char *query, const char *name, long otherwise) {
  const char *found = strstr(query, name);
  return found ? atol(found + strlen(name)) : otherwise;
}

static void control(int fd, const char *target) {
  if (strncmp(target, "/set", 4) == 0) {
    delay_ms = parameter(target, "delay=", delay_ms);
    down_status = parameter(target, "status=", down_status);
    recording = parameter(target, "record=", 0);
    requests = events = refused = sample_count = 0;
    first_at = last_at = 0;
    answer_stats(fd);
  } else if (strncmp(target, "/samples", 8) == 0) {
    answer_samples(fd);
  } else {
    waited_for = parameter(target, "events=", 0);
    if (events >= waited_for) answer_stats(fd);
    else waiter = fd;
  }
}

/* The latency of the event in a body, where it has the column "sent". */
static void record(const char *body) {
  const char *found = strstr(body, "\"sent\"");
  if (found) found = strstr(found, "\"value\":");
  if (!found) return;
  if (sample_count == sample_room) {
    sample_room = sample_room ? sample_room * 2 : 4096;
    samples = realloc(samples, sample_room * sizeof *samples);
  }
  samples[sample_count++] = clock_in(CLOCK_REALTIME, 1e6) - atof(found + 8);
}

static unsigned long count_events(const char *ids) {
  if (!ids) return 1;
  unsigned long count = 1;
  for (; *ids != '\r'; ids++) count += *ids == ' ';
  return count;
}

/* The value of a header in a head that ends in \0, or nothing. `name` is "\nname:". */
static const char *header(const char *head, const char *name) {
  const char *found = strcasestr(head, name);
  if (!found) return NULL;
  found += strlen(name);
  return found + strspn(found, " ");
}

/* A request has come to its end. */
static void handle(connection *c) {
  char *target = strchr(c->buffer, ' ') + 1;
  int is_post = c->buffer[0] == 'P', is_up = strncmp(target, "/up", 3) == 0;
  c->buffer[c->used] = 0;
  if (is_post && is_up && recording) record(c->buffer + c->head);
  c->buffer[c->head - 1] = 0;
  c->used = c->head = c->received = 0;
  if (!is_post) {
    *strchr(target, ' ') = 0;
    control(c->fd, target);
    return;
  }
  requests++;
  int status = is_up ? 204 : down_status;
  if (status != 204) {
    refused++;
    if (status != 0) answer_status(c->fd, status);
    return;
  }
  last_at = now_ms();
  if (first_at == 0) first_at = last_at;
  events += count_events(header(c->buffer, "\npgstream-event-ids:"));
  if (delay_ms == 0) answer_status(c->fd, 204);
  else queue[queue_end++ % (1 << 16)] = (answer){last_at + delay_ms, c->fd, c->serial};
  if (waiter >= 0 && events >= waited_for) {
    answer_stats(waiter);
    waiter = -1;
  }
}

static void close_connection(connection *c) {
  if (waiter == c->fd) waiter = -1;
  connections[c->fd] = NULL;
  close(c->fd);
  free(c);
}

static void on_readable(connection *c) {
  ssize_t count = read(c->fd, c->buffer + c->used, buffer_size - c->used);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0) return close_connection(c);
  c->used += count;
  if (c->head > 0) {
    c->received += count;
  } else {
    char *end = memmem(c->buffer, c->used, "\r\n\r\n", 4);
    if (!end && c->used < buffer_size) return;
    if (!end) return close_connection(c);
    c->head = end + 4 - c->buffer;
    c->received = c->used - c->head;
    end[3] = 0;
    const char *length = header(c->buffer, "\ncontent-length:");
    end[3] = '\n';
    c->expected = length ? strtoul(length, NULL, 10) : 0;
  }
  if (c->received >= c->expected) handle(c);
  else if (c->used == buffer_size) c->used = c->head;
}

static void on_connect(int listener, int poller) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
    if (fd >= most_connections) {
      close(fd);
      continue;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    connection *c = connections[fd] = malloc(sizeof *c);
    *c = (connection){0}, c->fd = fd, c->serial = ++serials;
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {.fd = fd}});
  }
}

static void answer_due(void) {
  double now = now_ms();
  for (; queue_first != queue_end; queue_first++) {
    answer *next = &queue[queue_first % (1 << 16)];
    if (next->due > now) return;
    connection *c = connections[next->fd];
    if (c && c->serial == next->serial) answer_status(c->fd, 204);
  }
}

static int ms_to_next(void) {
  if (queue_first == queue_end) return -1;
  double wait = queue[queue_first % (1 << 16)].due - now_ms();
  return wait <= 0 ? 0 : (int)wait + 1;
}

int main(void) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) {
    perror("receiver");
    return 1;
  }
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);

  int poller = epoll_create1(0);
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &(struct epoll_event){EPOLLIN, {.fd = listener}});
  epoll_ctl(poller, EPOLL_CTL_ADD, 0, &(struct epoll_event){EPOLLIN | EPOLLHUP, {.fd = 0}});
  for (struct epoll_event ready[256];;) {
    int count = epoll_wait(poller, ready, 256, ms_to_next());
    for (int i = 0; i < count; i++) {
      int fd = ready[i].data.fd;
      if (fd == 0) return 0;
      if (fd == listener) on_connect(listener, poller);
      else if (connections[fd]) on_readable(connections[fd]);
    }
    answer_due();
  }
}
