// Closes an fd that came from a peer, without waiting for the peer: in another thread where that could happen.
#pragma once

namespace vfio {

void discard(int fd);

}  // namespace vfio
