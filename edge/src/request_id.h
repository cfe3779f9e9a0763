// The request id of a call, as memdb/server/lifecycle.py makes it.
#pragma once

#include <string>

#include "call.h"

namespace memdb_edge {

inline constexpr const char* kRequestIdKey = "x-request-id";

// The caller's if it is sane, else a new one.
std::string RequestId(const Metadata& metadata);

}  // namespace memdb_edge
