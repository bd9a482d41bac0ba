// An application's page for chat tokens: GET /chat-token with a session's cookie answers with a
// token of its user.
//
//	CHAT_KEY=auth.key PORT=8000 go run chat_token.go
//
// Needs nothing but Go. The key is that of auth.hmac_file.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

type user struct{ ID, Name string }

// Your application has these: its sessions, and their users.
var sessions = map[string]user{"s3cr3t-of-ann": {ID: "4711", Name: "ann"}}

// chatToken returns a token of a user, for an hour.
func chatToken(key []byte, of user) (string, error) {
	now := time.Now().Unix()
	claims := map[string]any{"sub": of.ID, "name": of.Name, "aud": "chat", "iat": now, "exp": now + 3600}
	var parts [2]string
	for i, part := range []any{map[string]string{"alg": "HS256", "typ": "JWT"}, claims} {
		encoded, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(encoded)
	}
	signed := parts[0] + "." + parts[1]
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

func main() {
	content, err := os.ReadFile(os.Getenv("CHAT_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	key := bytes.TrimSuffix(content, []byte("\n"))
	http.HandleFunc("GET /chat-token", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		of, isKnown := sessions[cookie.Value]
		if !isKnown {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		token, err := chatToken(key, of)
		if err != nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		// A token is a secret of one user.
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprint(w, token)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
