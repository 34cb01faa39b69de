// Command dex is Dex, the OpenID Connect provider that many clusters sign people in by, for a demo:
// its server with people, one public client and one signing key of a file, all of it in memory.
//
//	dex config.json
//
// Dex's own command does not build from its published module, which lacks a part of its gRPC API.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/authflow"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/go-jose/go-jose/v4"
)

const tokensAreValidFor = time.Hour

type config struct {
	Issuer     string             // https://127.0.0.1:PORT
	Address    string             // 127.0.0.1:PORT
	TLSCert    string             // files
	TLSKey     string             //
	ClientID   string             // what kubectl's plugin calls itself, and tokens are for
	Passwords  []storage.Password // people, with the hash of their password
	SigningKey jose.JSONWebKey    // kept, so that tokens outlive a restart
}

func main() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serve(os.Args[1], logger); err != nil {
		fmt.Fprintln(os.Stderr, "dex:", err)
		os.Exit(1)
	}
}

func serve(path string, logger *slog.Logger) error {
	var c config
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	ctx := context.Background()
	books, err := booksOf(ctx, c, logger)
	if err != nil {
		return err
	}
	rotation := signer.LocalConfig{KeysRotationPeriod: "8760h"}
	signs, err := rotation.Open(ctx, books, tokensAreValidFor, time.Now, logger)
	if err != nil {
		return err
	}
	handler, err := server.NewServer(ctx, server.Config{
		Issuer:             c.Issuer,
		Storage:            books,
		Signer:             signs,
		IDTokensValidFor:   tokensAreValidFor,
		SkipApprovalScreen: true,
		PKCE:               authflow.PKCEConfig{Enforce: true, CodeChallengeMethodsSupported: []string{"S256"}},
		Logger:             logger,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return err
	}
	logger.Info("listening", "url", c.Issuer)
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return web.ServeTLS(listener, c.TLSCert, c.TLSKey)
}

// booksOf returns a storage that knows the people, the client and the key of the config.
func booksOf(ctx context.Context, c config, logger *slog.Logger) (storage.Storage, error) {
	books := memory.New(logger)
	public := c.SigningKey.Public()
	err := books.UpdateKeys(ctx, func(storage.Keys) (storage.Keys, error) {
		return storage.Keys{
			SigningKey:    &c.SigningKey,
			SigningKeyPub: &public,
			NextRotation:  time.Now().AddDate(1, 0, 0),
		}, nil
	})
	if err != nil {
		return nil, err
	}
	client := storage.Client{ID: c.ClientID, Name: c.ClientID, Public: true}
	local := storage.Connector{ID: "local", Name: "Email", Type: "local"}
	books = storage.WithStaticClients(books, []storage.Client{client})
	books = storage.WithStaticPasswords(books, c.Passwords, logger)
	return storage.WithStaticConnectors(books, []storage.Connector{local}), nil
}
