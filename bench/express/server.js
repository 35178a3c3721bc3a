// The gateway's webhook in Express 5 with ioredis: verify the raw bytes, XADD, 200. `node server.js PORT REDIS SECRET`.
'use strict';
const crypto = require('node:crypto');
const express = require('express');
const Redis = require('ioredis');

const [port, url, secret] = process.argv.slice(2);
const redis = new Redis(url, { enableAutoPipelining: true });
const app = express();
app.disable('x-powered-by');

app.post('/webhook', express.raw({ type: '*/*', limit: '4mb' }), async (request, response) => {
  const given = Buffer.from(request.get('x-hub-signature-256') || '');
  const made = Buffer.from('sha256=' + crypto.createHmac('sha256', secret).update(request.body).digest('hex'));
  if (given.length !== made.length || !crypto.timingSafeEqual(given, made)) return response.status(403).end();
  await redis.xadd('express', '*', 'body', request.body, 'at', Date.now());
  response.status(200).end();
});

app.listen(Number(port), '127.0.0.1', () => console.log('ready'));
