// SPDX-License-Identifier: Apache-2.0
// What:        the mini broker as a process: a topic "t", full, for any number of groups.
// Flow:        serve VALUE_BYTES RECORDS; prints HOST:PORT, serves until it is killed, or its
//              parent has ended.
// Memory:      the topic.
// Errors:      exit 1 when no port can be bound.
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "bench/batches.hpp"
#include "broker/tcp_front.hpp"

int main(int argc, char** argv) {
  if (argc < 3) return 1;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  minibroker::Broker broker{minibroker::Config{}};
  bench::fill(broker, std::strtoul(argv[1], nullptr, 10), std::strtoul(argv[2], nullptr, 10));
  minibroker::TcpFront front{broker};
  if (!front.ok()) return 1;
  std::printf("%s\n", front.bootstrap().c_str());
  std::fflush(stdout);
  for (;;) front.run_once(1000);
}
