// SPDX-License-Identifier: Apache-2.0
// What:        stats() as Prometheus text (exposition format 0.0.4), served over HTTP by the loop
//              that runs the consumer: no thread, no HTTP library.
// Flow:        metrics HOST:PORT GROUP TOPIC [PORT]; prints the records' values. GET /metrics on
//              127.0.0.1:PORT, 9105 unless given; 0: any free one. The first line on standard error
//              is the URL.
// Memory:      8 KiB for an answer, 2 KiB for a request, one of each: scrapers come one at a time.
// Errors:      exit 0 after SIGINT or SIGTERM, 1 usage or the port cannot be had, 2 failed for
//              good. A scraper that is slow is dropped after two seconds.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

// ---- The text. Takes a consumer, needs no server: write it to a file for the node exporter's
// textfile collector, if you have that.

struct Counter {
  const char* name;
  const char* help;
  uint64_t kshare::Stats::* value;
};

using kshare::Stats;
constexpr Counter kCounters[] = {
    {"records", "Records handed out.", &Stats::records},
    {"record_bytes", "Keys, values and headers handed out.", &Stats::bytes},
    {"redelivered", "Records handed out with a delivery count above 1.", &Stats::redelivered},
    {"acks_ok", "Records whose acknowledgement the broker confirmed.", &Stats::acks_ok},
    {"acks_failed", "Acknowledgements refused or too late.", &Stats::acks_failed},
    {"acks_unknown", "Acknowledgements whose answer was lost.", &Stats::acks_unknown},
    {"gaps", "Acquired offsets without a record.", &Stats::gaps},
    {"released", "Records confirmed as released.", &Stats::released},
    {"rejected", "Records confirmed as rejected.", &Stats::rejected},
    {"renewed", "Offsets whose lock was renewed.", &Stats::renewed},
    {"renew_failed", "Offsets whose lock could not be renewed.", &Stats::renew_failed},
    {"expired", "Records lost because their lock had run out.", &Stats::expired},
    {"rereads", "Fetches for bytes that did not fit the first time.", &Stats::reread},
    {"fetches", "ShareFetch requests.", &Stats::fetches},
    {"acknowledges", "ShareAcknowledge requests.", &Stats::acknowledges},
    {"heartbeats", "ShareGroupHeartbeat requests.", &Stats::heartbeats},
    {"requests", "Requests of all kinds.", &Stats::requests},
    {"reconnects", "Connections opened after one had been lost.", &Stats::reconnects},
    {"session_resets", "Share sessions opened again.", &Stats::session_resets},
    {"received_bytes", "Bytes received from brokers.", &Stats::bytes_received},
    {"sent_bytes", "Bytes sent to brokers.", &Stats::bytes_sent},
    {"events_lost", "Events overwritten before they were read.", &Stats::events_lost},
};

class MetricsText {
 public:
  MetricsText(char* out, uint32_t room) : out_(out, room) {}

  // Answers the length; what does not fit is cut, so give it 8 KiB.
  uint32_t write(const kshare::ShareConsumer& consumer) {
    for (const Counter& its : kCounters) {
      add(its.name, "_total", its.help, "counter",
          static_cast<int64_t>(consumer.stats().*its.value));
    }
    const bool joined = consumer.member().state == kshare::MemberState::stable;
    add("joined", "", "1 while the member is in its group.", "gauge", joined ? 1 : 0);
    add("assigned_partitions", "", "Partitions assigned.", "gauge", consumer.assignment_count());
    add("held_records", "", "Records handed out and not acknowledged.", "gauge",
        consumer.held_count());
    add("unsettled_records", "", "Records whose outcome is not known yet.", "gauge",
        consumer.unsettled());
    return out_.size();
  }

 private:
  // The text has no labels: group and topic are the same for all of it, and a scrape config can add
  // them. A label made here would have to escape \, " and line breaks.
  void add(const char* name, const char* ending, const char* help, const char* type,
           int64_t value) {
    out_ << "# HELP kshare_" << name << ending << " " << help << "\n";
    out_ << "# TYPE kshare_" << name << ending << " " << type << "\n";
    out_ << "kshare_" << name << ending << " " << value << "\n";
  }

  kshare::TextOut out_;
};

// ---- As much of HTTP/1.1 as a scraper needs: one request a connection, one connection at a time.
// Others wait in the listener's queue.

class Server {
 public:
  // Loopback only: whoever may see the numbers from elsewhere is for a proxy to say.
  bool listen(uint16_t port) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    sockaddr_in where = {};
    socklen_t size = sizeof where;
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    void* const address = &where;
    if (listener_ < 0 ||
        ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(listener_, static_cast<sockaddr*>(address), size) != 0 ||
        ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, static_cast<sockaddr*>(address), &size) != 0) {
      return false;
    }
    port_ = ntohs(where.sin_port);
    return true;
  }
  uint16_t port() const { return port_; }

  // For poll(2), which passes over -1: what it waits for, and until when.
  pollfd interest() const {
    if (!busy_) return {resting_ ? -1 : listener_, POLLIN, 0};
    return {client_, static_cast<short>(answer_size_ == 0 ? POLLIN : POLLOUT), 0};
  }
  kshare::Instant deadline() const { return busy_ || resting_ ? due_ : kshare::kNever; }

  // Bounded work, never blocks. Call it when interest() is met and at the deadline.
  void step(const kshare::ShareConsumer& consumer, kshare::Instant now) {
    if (busy_ && now >= due_) hang_up();
    if (!busy_ && !accept(now)) return;
    if (answer_size_ == 0 && !receive()) return;
    if (answer_size_ == 0) answer(consumer);
    send();
  }

 private:
  static constexpr int64_t kPatienceMs = 2000;
  static constexpr int64_t kRestMs = 1000;
  static constexpr uint32_t kHeadBytes = 160;

  // Where no descriptor is free (EMFILE), whoever waits goes on waiting, and poll(2) would say so
  // at once, again and again: so the listener is not watched for a while.
  bool accept(kshare::Instant now) {
    client_ = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    busy_ = client_ >= 0;
    resting_ = !busy_ && errno != EAGAIN;
    due_ = now + (busy_ ? kPatienceMs : kRestMs);
    request_size_ = answer_size_ = sent_ = 0;
    return busy_;
  }

  // True once the request is complete: behind its empty line. What is longer is cut there, as the
  // first line is all that counts.
  bool receive() {
    const ssize_t count =
        ::recv(client_, request_ + request_size_, sizeof request_ - request_size_, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count <= 0) {
      hang_up();
      return false;
    }
    request_size_ += static_cast<uint32_t>(count);
    const std::string_view text{request_, request_size_};
    return text.find("\r\n\r\n") != std::string_view::npos || request_size_ == sizeof request_;
  }

  // The body's length stands in the head: so the body is made first, behind room for the head.
  void answer(const kshare::ShareConsumer& consumer) {
    const std::string_view text{request_, request_size_};
    const bool known = text.find("GET /metrics ") == 0;
    char* const body = answer_ + kHeadBytes;
    kshare::TextOut refusal(body, sizeof answer_ - kHeadBytes);
    const uint32_t body_size =
        known ? MetricsText(body, sizeof answer_ - kHeadBytes).write(consumer)
              : (refusal << "Only GET /metrics is here.\n").size();
    char head[kHeadBytes];
    kshare::TextOut out(head, sizeof head);
    out << (known ? "HTTP/1.1 200 OK" : "HTTP/1.1 404 Not Found") << "\r\n"
        << "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        << "Content-Length: " << int64_t{body_size} << "\r\nConnection: close\r\n\r\n";
    sent_ = kHeadBytes - out.size();
    std::memcpy(answer_ + sent_, head, out.size());
    answer_size_ = kHeadBytes + body_size;
  }
  void send() {
    while (sent_ < answer_size_) {
      const ssize_t count = ::send(client_, answer_ + sent_, answer_size_ - sent_, MSG_NOSIGNAL);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (count <= 0) break;
      sent_ += static_cast<uint32_t>(count);
    }
    hang_up();
  }
  void hang_up() {
    ::close(client_);
    busy_ = false;
  }

  int listener_ = 0;
  int client_ = 0;
  bool busy_ = false;     // there is a client
  bool resting_ = false;  // none could be accepted
  uint16_t port_ = 0;
  kshare::Instant due_{};  // the client is dropped, or the rest is over
  uint32_t request_size_ = 0;
  uint32_t answer_size_ = 0;  // 0: the request is still being read
  uint32_t sent_ = 0;
  char request_[2048] = {};
  char answer_[8192] = {};
};

constexpr auto& kLimits = kshare::kSmallLimits;
kshare::Storage<kLimits> storage;
kshare::posix::TcpPool<kLimits> net;
Server server;

constexpr int kTurn = 64;               // records before scrapers are looked after
constexpr int64_t kSleepMsMax = 60000;  // no deadline is later: a turn in vain costs nothing
volatile sig_atomic_t stop_wanted = 0;
extern "C" void on_signal(int) { stop_wanted = 1; }

void print(const kshare::Record& record) {
  static_cast<void>(!::write(STDOUT_FILENO, record.value.data, record.value.size));
  static_cast<void>(!::write(STDOUT_FILENO, "\n", 1));
}

void tell(kshare::ShareConsumer& consumer) {
  kshare::Event event;
  while (consumer.next_event(event)) {
    char line[kshare::kLineBytes];
    const uint32_t size = kshare::format(event, line, sizeof line - 1);
    line[size] = '\n';
    static_cast<void>(!::write(STDERR_FILENO, line, size + 1));
  }
}

// One sleep for both: the earlier deadline, all descriptors. Signals come in here only.
void wait(kshare::ShareConsumer& consumer, int64_t most_ms, kshare::Instant now) {
  pollfd fds[kLimits.links_max + 1];
  const int64_t left_ms = kshare::earlier(server.deadline(), now + most_ms) - now;
  const int sleep_ms = kshare::posix::timeout_ms(consumer, now, left_ms < 0 ? 0 : left_ms);
  const timespec sleep = {sleep_ms / 1000, sleep_ms % 1000 * 1000000L};
  fds[0] = server.interest();
  const uint32_t used = 1 + kshare::posix::fill(consumer, fds + 1, kLimits.links_max);
  sigset_t none;
  ::sigemptyset(&none);
  if (::ppoll(fds, used, &sleep, &none) < 0) return;
  bool ready = kshare::posix::ready_now(consumer);
  for (uint32_t i = 1; i < used; ++i) ready = ready || fds[i].revents != 0;
  if (ready) consumer.wake();
  const kshare::Instant woken = net.now();
  if (fds[0].revents != 0 || woken >= server.deadline()) server.step(consumer, woken);
}

void run(kshare::ShareConsumer& consumer) {
  kshare::Record record;
  for (auto now = net.now(); stop_wanted == 0 && consumer.poll(now); now = net.now()) {
    tell(consumer);
    int taken = 0;
    while (taken < kTurn && consumer.next(record, now)) {
      print(record);
      ++taken;
    }
    wait(consumer, taken == kTurn ? 0 : kSleepMsMax, now);  // 0: a look, there are more records
  }
}

void say_url(uint16_t port) {
  char line[64];
  kshare::TextOut text(line, sizeof line);
  text << "http://127.0.0.1:" << int32_t{port} << "/metrics\n";
  static_cast<void>(!::write(STDERR_FILENO, line, text.size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return 1;
  const int port = argc == 5 ? ::atoi(argv[4]) : 9105;
  if (port < 0 || port > 65535 || !server.listen(static_cast<uint16_t>(port))) return 1;
  say_url(server.port());
  sigset_t ours;
  ::sigemptyset(&ours);
  for (const int number : {SIGINT, SIGTERM}) {
    ::sigaddset(&ours, number);
    ::signal(number, on_signal);
  }
  static_cast<void>(::sigprocmask(SIG_BLOCK, &ours, nullptr));

  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  run(consumer);
  return kshare::posix::close(consumer, net, 5000).ok() ? 0 : 2;
}
