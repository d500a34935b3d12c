// A TLS peer written with Go's crypto/tls. It prints one line of JSON about the connection, or about its failure.
//
//	peer serve  -chain chain.pem -key key.pem [options]     prints {"port": n} first
//	peer connect -address host:port -trust root.pem -name localhost [options]
//
// A server sends back what it receives. A client sends what comes in on its standard input, with a closing of its
// sending side at the end of it, and writes what it receives to its standard output.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

type report struct {
	Port     int    `json:"port,omitempty"`
	Version  string `json:"version,omitempty"`
	Suite    string `json:"suite,omitempty"`
	Group    string `json:"group,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Name     string `json:"name,omitempty"`
	Retried  bool   `json:"retried,omitempty"`
	Chains   int    `json:"chains,omitempty"`
	Resumed  bool   `json:"resumed,omitempty"`
	Exported string `json:"exported,omitempty"`
	Error    string `json:"error,omitempty"`
}

var groups = map[string]tls.CurveID{
	"X25519":             tls.X25519,
	"secp256r1":          tls.CurveP256,
	"secp384r1":          tls.CurveP384,
	"secp521r1":          tls.CurveP521,
	"X25519MLKEM768":     tls.X25519MLKEM768,
	"SecP256r1MLKEM768":  tls.SecP256r1MLKEM768,
	"SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
}

var (
	flags     = flag.NewFlagSet("peer", flag.ExitOnError)
	chain     = flags.String("chain", "", "certificate chain, PEM")
	key       = flags.String("key", "", "private key, PEM")
	trust     = flags.String("trust", "", "trusted roots, PEM; at a server: require client certificates")
	address   = flags.String("address", "127.0.0.1:0", "where to connect to")
	name      = flags.String("name", "", "the server's name")
	only      = flags.String("groups", "", "the only groups, joined by commas")
	older     = flags.Bool("older", false, "TLS 1.2 alone")
	protocols = flags.String("protocols", "", "application protocols, joined by commas")
	times     = flags.Int("times", 1, "connections, one after another; a client resumes its session")
)

func main() {
	flags.Parse(os.Args[2:])
	config := configuration()
	switch os.Args[1] {
	case "serve":
		serve(config)
	case "connect":
		connect(config)
	}
}

func configuration() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: *name}
	if *older {
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	if *chain != "" {
		pair, err := tls.LoadX509KeyPair(*chain, *key)
		fail(err)
		config.Certificates = []tls.Certificate{pair}
	}
	if *trust != "" {
		roots, err := os.ReadFile(*trust)
		fail(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		config.RootCAs, config.ClientCAs = pool, pool
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if *only != "" {
		for _, each := range strings.Split(*only, ",") {
			config.CurvePreferences = append(config.CurvePreferences, groups[each])
		}
	}
	if *protocols != "" {
		config.NextProtos = strings.Split(*protocols, ",")
	}
	return config
}

func serve(config *tls.Config) {
	listener, err := net.Listen("tcp", *address)
	fail(err)
	say(report{Port: listener.Addr().(*net.TCPAddr).Port})
	for range *times {
		socket, err := listener.Accept()
		fail(err)
		conn := tls.Server(socket, config)
		shake(conn)
		_, err = io.Copy(conn, conn)
		fail(err)
		fail(conn.Close())
	}
}

func connect(config *tls.Config) {
	if *times == 1 {
		converse(config, os.Stdin)
		return
	}
	said, err := io.ReadAll(os.Stdin)
	fail(err)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	for range *times {
		converse(config, bytes.NewReader(said))
	}
}

func converse(config *tls.Config, input io.Reader) {
	socket, err := net.DialTimeout("tcp", *address, 10*time.Second)
	fail(err)
	conn := tls.Client(socket, config)
	shake(conn)
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, input)
		if err == nil {
			err = conn.CloseWrite()
		}
		done <- err
	}()
	_, err = io.Copy(os.Stdout, conn)
	fail(err)
	fail(<-done)
	fail(conn.Close())
}

func shake(conn *tls.Conn) {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fail(conn.Handshake())
	state := conn.ConnectionState()
	exported, err := state.ExportKeyingMaterial("EXPORTER-handclasp-test", []byte("a context"), 32)
	fail(err)
	say(report{
		Version:  tls.VersionName(state.Version),
		Suite:    tls.CipherSuiteName(state.CipherSuite),
		Group:    groupName(state.CurveID),
		Protocol: state.NegotiatedProtocol,
		Name:     state.ServerName,
		Retried:  state.HelloRetryRequest,
		Chains:   len(state.VerifiedChains),
		Resumed:  state.DidResume,
		Exported: hex.EncodeToString(exported),
	})
}

func groupName(id tls.CurveID) string {
	for name, each := range groups {
		if each == id {
			return name
		}
	}
	return id.String()
}

// Reports go to standard error: a client's standard output is for data.
func say(what report) {
	json.NewEncoder(os.Stderr).Encode(what)
}

func fail(err error) {
	if err != nil {
		say(report{Error: err.Error()})
		os.Exit(1)
	}
}
