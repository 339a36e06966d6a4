package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsFlags configures the client's side of TLS. Any of them asks for TLS.
type tlsFlags struct {
	TLS           bool   `name:"tls" help:"Use TLS; implied by the other --tls flags."`
	TLSCA         string `name:"tls-ca" placeholder:"FILE" help:"Trust the certificates in this PEM file instead of the system's."`
	TLSCert       string `name:"tls-cert" placeholder:"FILE" help:"Certificate for mutual TLS, PEM. It is read again for each connection, so it can be renewed."`
	TLSKey        string `name:"tls-key" placeholder:"FILE" help:"Its private key, PEM."`
	TLSServerName string `name:"tls-server-name" placeholder:"NAME" help:"Expect this name in the collector's certificate instead of the host's."`
	TLSInsecure   bool   `name:"tls-insecure" help:"Accept any certificate. Anyone on the path can then read and change what is sent."`
}

// config returns nil where TLS was not asked for.
func (f tlsFlags) config() (*tls.Config, error) {
	if f == (tlsFlags{}) {
		return nil, nil
	}
	if f.TLSInsecure && f.TLSCA != "" {
		return nil, errors.New("--tls-insecure and --tls-ca contradict each other")
	}
	config := &tls.Config{ServerName: f.TLSServerName, InsecureSkipVerify: f.TLSInsecure}
	if f.TLSCA != "" {
		pool, err := certPool("--tls-ca", f.TLSCA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	load, err := keyPair(f.TLSCert, f.TLSKey)
	if err != nil {
		return nil, err
	}
	if load != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, nil
}

// keyPair returns a function that reads the pair anew, or nil if neither file
// was named. The pair is read once beforehand, so that mistakes show at once.
func keyPair(cert, key string) (func() (*tls.Certificate, error), error) {
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("--tls-cert and --tls-key go together")
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", cert, key, err)
		}
		return &pair, nil
	}
	_, err := load()
	return load, err
}

func certPool(flag, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s %s: no certificate in PEM form in it", flag, file)
	}
	return pool, nil
}
