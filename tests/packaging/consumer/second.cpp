// SPDX-License-Identifier: Apache-2.0
// A second file that includes everything: nothing may be defined twice.
#include "kshare/kshare.hpp"
#include "kshare/net/dns.hpp"
#include "kshare/net/posix.hpp"

const char* version_of_second() { return kshare::kVersion; }
