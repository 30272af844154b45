// Listens on one address where a program asks for every interface:
//
//     LD_PRELOAD=loopback.so LISTEN_ON=127.0.0.1 program
//
// Beam's job server, the servers that it has in TaskManagers, and its pools of
// Python workers run whatever code they are sent, and have no option for it.

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

namespace {

using Bind = int (*)(int, const sockaddr*, socklen_t);

// Puts `only` in the place of the wildcard address, if that is what `address` is.
void narrow(sockaddr* address, in_addr only) {
  if (address->sa_family == AF_INET) {
    in_addr* place = &reinterpret_cast<sockaddr_in*>(address)->sin_addr;
    if (place->s_addr == htonl(INADDR_ANY)) *place = only;
  } else if (address->sa_family == AF_INET6) {
    in6_addr* place = &reinterpret_cast<sockaddr_in6*>(address)->sin6_addr;
    if (!IN6_IS_ADDR_UNSPECIFIED(place)) return;
    place->s6_addr[10] = place->s6_addr[11] = 0xff;  // an IPv4 address in an IPv6 one
    memcpy(&place->s6_addr[12], &only, sizeof only);
  }
}

}  // namespace

extern "C" int bind(int socket, const sockaddr* address, socklen_t size) noexcept {
  static const Bind real = reinterpret_cast<Bind>(dlsym(RTLD_NEXT, "bind"));
  const char* text = getenv("LISTEN_ON");
  in_addr only;
  sockaddr_storage changed;
  if (!text || !inet_pton(AF_INET, text, &only) || !address || size > sizeof changed) {
    return real(socket, address, size);
  }
  memcpy(&changed, address, size);
  narrow(reinterpret_cast<sockaddr*>(&changed), only);
  return real(socket, reinterpret_cast<sockaddr*>(&changed), size);
}
