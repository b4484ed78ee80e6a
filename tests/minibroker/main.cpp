// SPDX-License-Identifier: Apache-2.0
// What:        kshare_minibroker: the mini broker as a program, for tests of programs that consume
//              from share groups.
// Flow:        options -> Broker, TcpFront; then one command a line on standard input, one answer
//              each on standard output. The first line of output is HOST:PORT,HOST:PORT...
// Memory:      what the Broker keeps.
// Errors:      exit 0: standard input ended, SIGTERM or SIGINT; 1: usage, a port that is taken, or
//              a command of -c that fails.
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "commands.hpp"

namespace {

using minibroker::Complaint;

constexpr char kHelp[] =
    "kshare_minibroker: a Kafka cluster with share groups, in memory, on loopback, for tests\n"
    "\n"
    "  kshare_minibroker [options]\n"
    "\n"
    "  -n NODES             how many brokers, 1 to 64; 1 unless given\n"
    "  -p PORT              of the first one, the others behind it; else any free ports\n"
    "  -t TOPIC[:PARTITIONS]  makes a topic; may be repeated\n"
    "  -r TOPIC:COUNT[:SIZE]  appends records 'NUMBER xx...', partitions in turn; repeatable\n"
    "  -l MS                record locks last so long; 30000\n"
    "  -d COUNT             deliveries of a record at most; 5\n"
    "  -k VERSION           imitates Kafka 4.1, 4.2, 4.3 or 4.4; 4.4\n"
    "  -X NAME=VALUE        a setting by Kafka's name; of groups: their default\n"
    "  -s SEED              of topic ids; 1\n"
    "  -c COMMAND           obeys it before anything else; may be repeated\n"
    "  -i TOPIC             standard input holds records, one a line, not commands; implies -w\n"
    "  -w                   goes on when standard input ends, until SIGTERM or SIGINT\n"
    "  -h                   this text, and the commands\n"
    "\n"
    "The first line on standard output is HOST:PORT,HOST:PORT..., for bootstrap.servers. Groups\n"
    "start at the first record unless -X share.auto.offset.reset=latest. Then each line on\n"
    "standard input is a command; its answer ends with a line 'ok ...' or 'error: ...', lines\n"
    "before that begin with a blank:\n"
    "\n";

volatile sig_atomic_t stop_wanted = 0;

extern "C" void on_signal(int) { stop_wanted = 1; }

struct Options {
  minibroker::Config config;
  int port = 0;
  std::vector<std::string> topics;    // of -t, as commands; made first, whatever the order
  std::vector<std::string> records;   // of -r
  std::vector<std::string> commands;  // of -c
  std::string lines_to;
  bool wait = false;
  bool help = false;
};

// NAME[:NUMBER[:NUMBER]]
std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts = {""};
  for (const char c : text) {
    if (c == ':') parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

void set_property(minibroker::Config& config, const std::string& text) {
  const size_t sign = text.find('=');
  if (sign == std::string::npos) throw Complaint{"-X takes NAME=VALUE, not " + text};
  minibroker::set_cluster(config, text.substr(0, sign), text.substr(sign + 1));
}

int number_of(const char* option, int least, int most) {
  return static_cast<int>(minibroker::to_number(optarg, option, least, most));
}

void take(Options& o, int option) {
  switch (option) {
    case 'n': o.config.nodes = number_of("-n", 1, 64); break;
    case 'p': o.port = number_of("-p", 0, 65535); break;
    case 't': {
      const std::string text = optarg;
      const std::vector<std::string> parts = parts_of(text);
      if (parts.size() > 2) throw Complaint{"-t takes TOPIC[:PARTITIONS], not " + text};
      if (parts[0].find_first_not_of(" \t") == std::string::npos) {
        throw Complaint{"-t takes TOPIC[:PARTITIONS], a name first, not \"" + text + '"'};
      }
      o.topics.push_back("topic " + parts[0] + " " + (parts.size() > 1 ? parts[1] : "1"));
      break;
    }
    case 'r': o.records.emplace_back(optarg); break;
    case 'l': o.config.lock_ms = number_of("-l", 1, INT32_MAX); break;
    case 'd': o.config.delivery_limit = number_of("-d", 1, INT16_MAX); break;
    case 'k': minibroker::imitate(o.config, optarg); break;
    case 'X': set_property(o.config, optarg); break;
    case 's': o.config.seed = static_cast<uint64_t>(number_of("-s", 0, INT32_MAX)); break;
    case 'c': o.commands.emplace_back(optarg); break;
    case 'i': o.lines_to = optarg; break;
    case 'w': o.wait = true; break;
    case 'h': o.help = true; break;
    default: throw Complaint{"-h lists the options"};
  }
}

Options parse(int argc, char** argv) {
  Options o;
  o.config.failover = true;
  for (int c; (c = ::getopt(argc, argv, "n:p:t:r:l:d:k:X:s:c:i:wh")) >= 0;) take(o, c);
  if (optind < argc) throw Complaint{"no argument " + std::string(argv[optind]) + " is known; -h"};
  if (o.port != 0 && o.port + o.config.nodes - 1 > 65535) throw Complaint{"-p is too high for -n"};
  return o;
}

// "TOPIC:COUNT[:SIZE]"
void append_records(minibroker::Commands& commands, const std::string& text) {
  const std::vector<std::string> parts = parts_of(text);
  if (parts.size() < 2 || parts.size() > 3) {
    throw Complaint{"-r takes TOPIC:COUNT[:SIZE], not " + text};
  }
  const int64_t count = minibroker::to_number(parts[1], "COUNT of -r", 1, 10000000);
  const int64_t size =
      parts.size() > 2 ? minibroker::to_number(parts[2], "SIZE of -r", 0, 16 << 20) : 0;
  std::vector<std::string> lines;
  size_t bytes = 0;
  for (int64_t i = 0; i < count; ++i) {
    lines.push_back(std::to_string(i) + " ");
    lines.back().resize(std::max(static_cast<size_t>(size), lines.back().size()), 'x');
    bytes += lines.back().size();
    if (lines.size() < 500 && bytes < (1 << 20) && i + 1 < count) continue;
    commands.spread(parts[0], lines);
    lines.clear();
    bytes = 0;
  }
}

// Standard input in lines: commands, or records.
class Input {
 public:
  Input(minibroker::Commands& commands, const std::string& lines_to)
      : commands_(commands), lines_to_(lines_to) {}

  // False: it has ended.
  bool read_some() {
    char bytes[65536];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (count > 0) pending_.append(bytes, static_cast<size_t>(count));
    else if (!pending_.empty()) pending_ += '\n';  // the last line needs none
    std::vector<std::string> lines;
    size_t begin = 0;
    for (size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      lines.push_back(pending_.substr(begin, end - begin));
    }
    pending_.erase(0, begin);
    if (lines_to_.empty()) obey(lines);
    else if (!lines.empty()) commands_.spread(lines_to_, lines);
    return count > 0;
  }

 private:
  void obey(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) {
      const std::string answer = commands_.obey(line);
      if (!answer.empty()) std::printf("%s\n", answer.c_str());
    }
    std::fflush(stdout);
  }

  minibroker::Commands& commands_;
  std::string lines_to_;
  std::string pending_;
};

void obey_or_end(minibroker::Commands& commands, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    const std::string answer = commands.obey(line);
    if (answer.compare(0, 5, "error") != 0) continue;
    throw Complaint{answer.substr(7) + "; command: " + line};
  }
}

void prepare(minibroker::Commands& commands, const Options& o) {
  obey_or_end(commands, o.topics);
  for (const std::string& text : o.records) append_records(commands, text);
  obey_or_end(commands, o.commands);
  if (!o.lines_to.empty()) commands.check_topic(o.lines_to);
}

int serve(const Options& o) {
  minibroker::Broker broker(o.config);
  minibroker::TcpFront front(broker, o.port);
  if (!front.ok()) throw Complaint{"a port of " + front.bootstrap() + " is taken"};
  minibroker::Commands commands(broker, front);
  prepare(commands, o);
  std::printf("%s\n", front.bootstrap().c_str());
  std::fflush(stdout);
  Input input(commands, o.lines_to);
  constexpr int kLookMs = 200;  // so late, at most, is a signal seen that comes just before poll()
  for (int watched = STDIN_FILENO; stop_wanted == 0;) {
    if (!front.run_once(kLookMs, watched) || input.read_some()) continue;
    if (!o.wait && o.lines_to.empty()) break;
    watched = -1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  try {
    const Options options = parse(argc, argv);
    if (!options.help) return serve(options);
    std::printf("%s%s", kHelp, minibroker::Commands::list("").c_str());
    return 0;
  } catch (const Complaint& complaint) {
    std::fprintf(stderr, "kshare_minibroker: %s\n", complaint.text.c_str());
    return 1;
  }
}
