// SPDX-License-Identifier: Apache-2.0
// What:        runs simulations for many seeds; a seed that fails is made small and printed.
// Flow:        kshare_sim [--seeds COUNT] [--from SEED] [--minutes M] [--jobs N]
//              kshare_sim --seed SEED [--only NUMBER,NUMBER...] [-v]
// Memory:      tests may use the heap; the consumers do not.
// Errors:      exit 0: all is well, 1: a seed has failed, 2: usage. The last line has the counts.
//
// Each seed runs in a child: one that crashes, trips an assertion or never ends fails like one of
// which the oracle says that something is wrong.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "simulation.hpp"

namespace {

using sim::Plan;
using sim::Simulation;

constexpr unsigned kSeedSeconds = 120;  // of the real clock; a seed takes a fraction of one
constexpr unsigned kShrinkSeconds = 20;

struct Options {
  uint64_t from = 1;
  uint64_t seeds = 200;
  double minutes = 0;
  unsigned jobs = 2;
  uint64_t seed = 0;
  bool one = false;
  bool some = false;  // not all items of it, only these:
  bool verbose = false;
  std::vector<int> only;
};

// What the children tell; shared memory.
struct Board {
  uint64_t seed[64];  // that each child is at
  uint64_t done[64];
  uint64_t records[64];
  char wrong[64][400];
  volatile bool failed;  // a seed has failed: no need to go on
};

std::string run_seed(uint64_t seed, const Plan& plan, bool verbose, uint64_t* handed = nullptr) {
  Simulation simulation(seed, plan, verbose);
  const std::string wrong = simulation.run();
  if (handed != nullptr) *handed += simulation.handed();
  return wrong;
}

// What kind of fault it is: its words without their numbers.
int kind_of(const std::string& wrong) {
  unsigned sum = 0;
  for (const char c : wrong) sum = c < 'a' || c > 'z' ? sum : sum * 31 + static_cast<unsigned>(c);
  return wrong.empty() ? 0 : 1 + static_cast<int>(sum % 200);
}

// Runs in a child; in which way it fails, 0: not at all.
int outcome(uint64_t seed, const Plan& plan) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stdout) == nullptr) _exit(255);
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(255);
    alarm(kShrinkSeconds);
    _exit(kind_of(run_seed(seed, plan, false)));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

// Leaves out as many items as it can, in smaller and smaller pieces, while the seed fails in the
// same way.
Plan shrink(uint64_t seed, Plan plan) {
  const int wanted = outcome(seed, plan);
  for (size_t piece = plan.items.size() / 2; piece >= 1; piece /= 2) {
    for (size_t at = 0; at < plan.items.size();) {
      Plan less = plan;
      const auto first = less.items.begin() + static_cast<std::ptrdiff_t>(at);
      const auto count = std::min(piece, less.items.size() - at);
      less.items.erase(first, first + static_cast<std::ptrdiff_t>(count));
      if (wanted != 0 && outcome(seed, less) == wanted) plan = less;
      else at += piece;
    }
  }
  return plan;
}

void report(uint64_t seed, const std::string& wrong) {
  std::printf("FAIL  seed %llu: %s\n", static_cast<unsigned long long>(seed), wrong.c_str());
  std::fflush(stdout);
  const Plan plan = shrink(seed, sim::draw_plan(seed));
  std::string numbers;
  for (const sim::Item& item : plan.items) {
    std::printf("      %s\n", item.text().c_str());
    numbers += (numbers.empty() ? "" : ",") + std::to_string(item.number);
  }
  std::printf("      again: kshare_sim --seed %llu --only '%s' -v\n",
              static_cast<unsigned long long>(seed), numbers.c_str());
}

// Every jobs-th seed, until all are done, the time is up, or one has failed.
void work(Board& board, unsigned job, const Options& o) {
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = o.from + job; o.minutes > 0 || seed < o.from + o.seeds; seed += o.jobs) {
    const std::chrono::duration<double> past = std::chrono::steady_clock::now() - begin;
    if (board.failed || (o.minutes > 0 && past.count() > o.minutes * 60)) break;
    board.seed[job] = seed;
    alarm(kSeedSeconds);
    const std::string wrong = run_seed(seed, sim::draw_plan(seed), false, &board.records[job]);
    alarm(0);
    if (!wrong.empty()) {
      std::strncpy(board.wrong[job], wrong.c_str(), sizeof board.wrong[job] - 1);
      _exit(1);
    }
    ++board.done[job];
  }
  _exit(0);
}

int run_many(const Options& o) {
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0);
  if (memory == MAP_FAILED) return 2;
  Board& board = *static_cast<Board*>(memory);
  std::fflush(stdout);
  std::vector<pid_t> children;
  for (unsigned job = 0; job < o.jobs; ++job) {
    children.push_back(fork());
    if (children.back() == 0) work(board, job, o);
  }
  unsigned failed = 0;
  for (unsigned ended = 0; ended < o.jobs; ++ended) {
    int status = 0;
    const pid_t child = waitpid(-1, &status, 0);
    if (status == 0) continue;
    ++failed;
    board.failed = true;
    const auto job = static_cast<size_t>(
        std::find(children.begin(), children.end(), child) - children.begin());
    if (board.wrong[job][0] == '\0') {
      std::snprintf(board.wrong[job], sizeof board.wrong[job], "ended with status %d", status);
    }
  }
  uint64_t done = 0, records = 0;
  for (unsigned job = 0; job < o.jobs; ++job) {
    if (board.wrong[job][0] != '\0') report(board.seed[job], board.wrong[job]);
    done += board.done[job];
    records += board.records[job];
  }
  std::printf("%s  %llu seeds from %llu on, %llu records handed out\n",
              failed == 0 ? "ok  " : "FAIL", static_cast<unsigned long long>(done),
              static_cast<unsigned long long>(o.from),
              static_cast<unsigned long long>(records));
  std::printf("%d passed, %u failed, 0 skipped\n", failed == 0 ? 1 : 0, failed);
  return failed == 0 ? 0 : 1;
}

int run_one(const Options& o) {
  Plan plan = sim::draw_plan(o.seed);
  if (o.some) plan.keep(o.only);
  const std::string wrong = run_seed(o.seed, plan, o.verbose);
  std::printf("%s  seed %llu %s\n", wrong.empty() ? "ok  " : "FAIL",
              static_cast<unsigned long long>(o.seed), wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "-v") {
      o.verbose = true;
      continue;
    }
    if (++i >= argc) return false;
    if (word == "--seeds") o.seeds = std::strtoull(argv[i], nullptr, 10);
    else if (word == "--from") o.from = std::strtoull(argv[i], nullptr, 10);
    else if (word == "--minutes") o.minutes = std::strtod(argv[i], nullptr);
    else if (word == "--jobs") o.jobs = static_cast<unsigned>(std::strtoul(argv[i], nullptr, 10));
    else if (word == "--seed") {
      o.seed = std::strtoull(argv[i], nullptr, 10);
      o.one = true;
    } else if (word == "--only") {
      o.some = true;
      for (char* at = argv[i]; *at != '\0'; at += *at == ',' ? 1 : 0) {
        o.only.push_back(static_cast<int>(std::strtol(at, &at, 10)));
      }
    } else {
      return false;
    }
  }
  return o.jobs >= 1 && o.jobs <= 64 && (o.seeds >= 1 || o.minutes > 0);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "kshare_sim [--seeds COUNT] [--from SEED] [--minutes M] [--jobs N]\n"
                         "kshare_sim --seed SEED [--only NUMBER,...] [-v]\n");
    return 2;
  }
  return options.one ? run_one(options) : run_many(options);
}
