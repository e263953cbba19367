# Two tasks of one group that share a directory: one writes, one reads.
#
#   trio-driver run examples/pair.nomad.hcl
#   trio-driver run --env LINES=5 examples/pair.nomad.hcl

job "pair" {
  type = "batch"

  meta {
    file = "lines.txt"
  }

  group "pair" {
    task "writer" {
      driver = "trio"

      config {
        command = "/bin/sh"
        args = ["-c", <<EOF
for line in $(seq "$LINES"); do
  echo "line $line" >> "$FILE"
  sleep 0.5
done
echo "end" >> "$FILE"
EOF
        ]
      }

      env {
        FILE  = "${NOMAD_ALLOC_DIR}/data/${NOMAD_META_file}"
        LINES = "3"
      }
    }

    task "reader" {
      driver = "trio"

      config {
        command = "/bin/sh"
        args = ["-c", <<EOF
until [ -e "$FILE" ]; do sleep 0.1; done
exec < "$FILE"
until [ "$line" = end ]; do
  if read -r line; then echo "read: $line"; else sleep 0.1; fi
done
EOF
        ]
      }

      env {
        FILE = "${NOMAD_ALLOC_DIR}/data/${NOMAD_META_file}"
      }
    }
  }
}
